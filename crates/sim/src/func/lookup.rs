//! `lookup`: rows of a table in SRAM by index.

use packwright_packet::defs::Lookup;
use packwright_packet::operand::{Affine, Elem};

use super::error::Fault;
use super::frame::Frame;
use super::gather::row_of;
use super::overlap::{Sharing, refuse_overlap};
use super::rows::compute_rows;

/// Executes a `lookup`.
pub(super) fn lookup(frame: &mut Frame<'_>, command: &Lookup) -> Result<(), Fault> {
    let [rows, cols] = frame.extents(command.rows, command.cols)?;
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    let table_rows = frame.extent("table_rows", Affine::from(command.table_rows))?;
    if table_rows == 0 {
        return Err(Fault::EmptyTable);
    }
    let index = frame.area("index", &command.index, [1, rows])?;
    let index = index.of_type(&[Elem::I32, Elem::I64])?;
    let table = frame.area("table", &command.table, [table_rows, cols])?;
    let dst = frame.target("dst", &command.dst, [rows, cols])?;
    if table.elem_bytes() != dst.elem_bytes() {
        return Err(Fault::ElementType {
            field: "dst",
            elem: dst.elem(),
        });
    }
    refuse_overlap(&dst, &index, Sharing::Never)?;
    refuse_overlap(&dst, &table, Sharing::Never)?;
    let mut indices = vec![0i64; rows];
    index.read_integers(frame.sram, 0, &mut indices);
    let targets = [(&dst, 0..dst.row_bytes())];
    compute_rows(
        frame,
        [rows, cols],
        &targets,
        || (),
        |sram, (), i, out| {
            let row = row_of(indices[i], table_rows as u64);
            table.pack_row(sram, row as usize, out);
        },
    );
    Ok(())
}
