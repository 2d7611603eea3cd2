//! `rotary`: pairs of a row's elements turn by an angle.

use packwright_numerics::rotary::{rotate_half_row, rotate_interleaved_row};
use packwright_packet::defs::Rotary;
use packwright_packet::operand::RotaryLayout;

use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::rows::compute_f32_rows;

/// Executes a `rotary`.
pub(super) fn rotary(frame: &mut Frame<'_>, command: &Rotary) -> Result<(), Fault> {
    let [rows, cols] = frame.extents(command.rows, command.cols)?;
    if !cols.is_multiple_of(2) {
        return Err(Fault::OddWidth);
    }
    let src = frame.area("src", &command.src, [rows, cols])?;
    let cos = frame.area("cos", &command.cos, [rows, cols / 2])?;
    let sin = frame.area("sin", &command.sin, [rows, cols / 2])?;
    let dst = frame.target("dst", &command.dst, [rows, cols])?;
    refuse_overlap(&dst, &src, Sharing::Rows)?;
    refuse_overlap(&dst, &cos, Sharing::Never)?;
    refuse_overlap(&dst, &sin, Sharing::Never)?;
    compute_f32_rows(frame, cols / 2, &dst, 1.0, |sram, [c, s], i, row| {
        src.read_row(sram, i, row);
        cos.read_row(sram, i, c);
        sin.read_row(sram, i, s);
        match command.layout {
            RotaryLayout::Half => rotate_half_row(row, c, s),
            RotaryLayout::Interleaved => rotate_interleaved_row(row, c, s),
        }
    });
    Ok(())
}
