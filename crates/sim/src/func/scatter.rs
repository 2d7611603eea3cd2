//! `scatter`: rows to a table in SRAM by index.

use packwright_packet::defs::Scatter;

use super::error::Fault;
use super::frame::Frame;
use super::indexed::Indexed;

/// Executes a `scatter`.
pub(super) fn scatter(frame: &mut Frame<'_>, command: &Scatter) -> Result<(), Fault> {
    let extents = [command.rows, command.cols];
    let Some(indexed) = Indexed::new(frame, extents, &command.index, command.table_rows)? else {
        return Ok(());
    };
    let src = frame.area("src", &command.src, indexed.extents)?;
    let table = frame.target("table", &command.table, indexed.table)?;
    let places = indexed.rows(frame, &src, &table)?;
    let mut row = vec![0u8; src.row_bytes()];
    for (i, &place) in places.iter().enumerate() {
        src.pack_row(frame.sram, i, &mut row);
        table.unpack_row(frame.sram, place, &row);
    }
    Ok(())
}
