//! `scan`: running sums of rows.

use packwright_numerics::reduce::running_sum_row;
use packwright_packet::defs::Scan;

use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::rows::compute_f32_rows;

/// Executes a `scan`.
pub(super) fn scan(frame: &mut Frame<'_>, command: &Scan) -> Result<(), Fault> {
    let [rows, cols] = frame.extents(command.rows, command.cols)?;
    let src = frame.area("src", &command.src, [rows, cols])?;
    let dst = frame.target("dst", &command.dst, [rows, cols])?;
    refuse_overlap(&dst, &src, Sharing::Rows)?;
    compute_f32_rows(frame, cols, &dst, 1.0, |sram, [], i, row| {
        src.read_row(sram, i, row);
        running_sum_row(row);
    });
    Ok(())
}
