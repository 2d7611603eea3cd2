//! `reduce`: each row to one element.

use packwright_numerics::reduce::{argmax_row, max_row, mean_row, min_row, sum_lanes, sum_squares};
use packwright_packet::defs::Reduce;
use packwright_packet::operand::ReduceKind;

use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::rows::compute_f32_rows;

/// Executes a `reduce`.
pub(super) fn reduce(frame: &mut Frame<'_>, command: &Reduce) -> Result<(), Fault> {
    let [rows, cols] = frame.extents(command.rows, command.cols)?;
    if cols == 0 {
        return Ok(());
    }
    let src = frame.area("src", &command.src, [rows, cols])?;
    let dst = frame.target("dst", &command.dst, [rows, 1])?;
    refuse_overlap(&dst, &src, Sharing::Rows)?;
    compute_f32_rows(frame, cols, &dst, 1.0, |sram, [x], i, row| {
        src.read_row(sram, i, x);
        row.fill(match command.kind {
            ReduceKind::Sum => sum_lanes(x),
            ReduceKind::Mean => mean_row(x),
            ReduceKind::Max => max_row(x),
            ReduceKind::Min => min_row(x),
            ReduceKind::SumSquares => sum_squares(x),
            ReduceKind::ArgMax => argmax_row(x).unwrap_or(0) as f32,
        });
    });
    Ok(())
}
