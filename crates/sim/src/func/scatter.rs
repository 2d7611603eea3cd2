//! `scatter`: rows to a table in SRAM by index.

use packwright_packet::defs::Scatter;
use packwright_packet::operand::{Affine, Elem};

use super::error::Fault;
use super::frame::Frame;
use super::gather::row_of;
use super::overlap::{Sharing, refuse_overlap};

/// Executes a `scatter`.
pub(super) fn scatter(frame: &mut Frame<'_>, command: &Scatter) -> Result<(), Fault> {
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
    let src = frame.area("src", &command.src, [rows, cols])?;
    let table = frame.target("table", &command.table, [table_rows, cols])?;
    if table.elem_bytes() != src.elem_bytes() {
        return Err(Fault::ElementType {
            field: "table",
            elem: table.elem(),
        });
    }
    refuse_overlap(&table, &index, Sharing::Never)?;
    refuse_overlap(&table, &src, Sharing::Never)?;
    let mut indices = vec![0i64; rows];
    index.read_integers(frame.sram, 0, &mut indices);
    let mut row = vec![0u8; src.row_bytes()];
    for (i, &index) in indices.iter().enumerate() {
        src.pack_row(frame.sram, i, &mut row);
        table.unpack_row(frame.sram, row_of(index, table_rows as u64) as usize, &row);
    }
    Ok(())
}
