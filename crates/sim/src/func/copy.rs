//! `copy`: elements move within SRAM, bit for bit.

use packwright_packet::defs::Copy;

use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::rows::compute_rows;

/// Executes a `copy`.
pub(super) fn copy(frame: &mut Frame<'_>, command: &Copy) -> Result<(), Fault> {
    let [rows, cols] = frame.extents(command.rows, command.cols)?;
    let src = frame.area("src", &command.src, [rows, cols])?;
    let dst = frame.target("dst", &command.dst, [rows, cols])?;
    if src.elem_bytes() != dst.elem_bytes() {
        return Err(Fault::ElementType {
            field: "dst",
            elem: dst.elem(),
        });
    }
    refuse_overlap(&dst, &src, Sharing::Rows)?;
    let targets = [(&dst, 0..dst.row_bytes())];
    compute_rows(
        frame,
        [rows, cols],
        &targets,
        || (),
        |sram, (), i, out| {
            src.pack_row(sram, i, out);
        },
    );
    Ok(())
}
