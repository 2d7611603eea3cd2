//! `lookup`: rows of a table in SRAM by index.

use packwright_packet::defs::Lookup;

use super::error::Fault;
use super::frame::Frame;
use super::indexed::Indexed;
use super::rows::compute_rows;

/// Executes a `lookup`.
pub(super) fn lookup(frame: &mut Frame<'_>, command: &Lookup) -> Result<(), Fault> {
    let extents = [command.rows, command.cols];
    let Some(indexed) = Indexed::new(frame, extents, &command.index, command.table_rows)? else {
        return Ok(());
    };
    let table = frame.area("table", &command.table, indexed.table)?;
    let dst = frame.target("dst", &command.dst, indexed.extents)?;
    let places = indexed.rows(frame, &table, &dst)?;
    let targets = [(&dst, 0..dst.row_bytes())];
    compute_rows(
        frame,
        indexed.extents,
        &targets,
        || (),
        |sram, (), i, out| table.pack_row(sram, places[i], out),
    );
    Ok(())
}
