//! `gather`: rows of a table in DRAM by index.

use packwright_packet::defs::Gather;
use packwright_packet::operand::{Elem, View};

use super::dram::Dram;
use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};

/// Executes a `gather`.
pub(super) fn gather(
    frame: &mut Frame<'_>,
    dram: &Dram<'_>,
    command: &Gather,
) -> Result<(), Fault> {
    let count = frame.extent("count", command.count)?;
    let row_bytes = command.row_bytes as usize;
    if count == 0 || row_bytes == 0 {
        return Ok(());
    }
    let index = frame.area("index", &command.index, [1, count])?;
    let index = index.of_type(&[Elem::I32, Elem::I64])?;
    let rows = View {
        elem: Elem::I8,
        addr: command.dst,
        pitch: command.dst_pitch,
        step: 1,
    };
    let dst = frame.target("dst", &rows, [count, row_bytes])?;
    refuse_overlap(&dst, &index, Sharing::Never)?;
    let (table, start) = table(frame, dram, command)?;
    let mut indices = vec![0i64; count];
    index.read_integers(frame.sram, 0, &mut indices);
    for (i, index) in indices.into_iter().enumerate() {
        let row = row_of(index, command.table_rows);
        // The last row lies within the table, so this does not overflow.
        let from = (start + row * command.row_pitch) as usize;
        let to = dst.at(i, 0);
        frame.sram[to..to + row_bytes].copy_from_slice(&table[from..from + row_bytes]);
    }
    Ok(())
}

/// The region of the table and the offset of its first row; all its rows lie within the region.
fn table<'d>(
    frame: &Frame<'_>,
    dram: &'d Dram<'_>,
    command: &Gather,
) -> Result<(&'d [u8], u64), Fault> {
    let field = "table";
    let region = dram.read(field, command.table.region)?;
    let start = frame.registers.at(field, command.table.offset)?;
    let last = command.table_rows.checked_sub(1).ok_or(Fault::EmptyTable)?;
    let end = last
        .checked_mul(command.row_pitch)
        .and_then(|last| last.checked_add(start))
        .and_then(|last| last.checked_add(u64::from(command.row_bytes)))
        .ok_or(Fault::AddressOverflow { field })?;
    let bytes = region.len() as u64;
    if end > bytes {
        let region = dram.name(command.table.region);
        return Err(Fault::OutsideRegion {
            field,
            region,
            end,
            bytes,
        });
    }
    Ok((region, start))
}

/// The row that an index names: negative ones count from the end, those outside name the last row.
pub(super) fn row_of(index: i64, rows: u64) -> u64 {
    let row = if index < 0 {
        rows.checked_sub(index.unsigned_abs())
    } else {
        Some(index.unsigned_abs())
    };
    row.unwrap_or(u64::MAX).min(rows - 1)
}
