//! `sort`: the indices of a row's elements in order.

use packwright_packet::defs::Sort;
use packwright_packet::operand::Elem;

use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::port::encode;
use super::rows::compute_rows;

/// Executes a `sort`.
pub(super) fn sort(frame: &mut Frame<'_>, command: &Sort) -> Result<(), Fault> {
    let [rows, cols] = frame.extents(command.rows, command.cols)?;
    let src = frame.area("src", &command.src, [rows, cols])?;
    let dst = frame.target("dst", &command.dst, [rows, cols])?;
    let dst = dst.of_type(&[Elem::I32])?;
    refuse_overlap(&dst, &src, Sharing::Never)?;
    let room = || (vec![0.0f32; cols], Vec::with_capacity(cols));
    let targets = [(&dst, 0..dst.row_bytes())];
    compute_rows(
        frame,
        [rows, cols],
        &targets,
        room,
        |sram, (keys, order): &mut (Vec<f32>, Vec<i32>), i, out| {
            src.read_row(sram, i, keys);
            order.clear();
            order.extend(0..cols as i32);
            order.sort_by(|&a, &b| {
                let key = |index: i32| match keys[index as usize] {
                    x if x.is_nan() => f32::NAN,
                    x => x,
                };
                key(a).total_cmp(&key(b))
            });
            encode(order, out, i32::to_le_bytes);
        },
    );
    Ok(())
}
