//! `select` and `fill`.

use packwright_packet::defs::{Fill, Select};

use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::rows::compute_f32_rows;

/// Executes a `select`.
pub(super) fn select(frame: &mut Frame<'_>, command: &Select) -> Result<(), Fault> {
    let extents = frame.extents(command.rows, command.cols)?;
    let cond = frame.area("cond", &command.cond, extents)?;
    let a = frame.area("a", &command.a, extents)?;
    let b = frame.area("b", &command.b, extents)?;
    let dst = frame.target("dst", &command.dst, extents)?;
    for operand in [&cond, &a, &b] {
        refuse_overlap(&dst, operand, Sharing::Rows)?;
    }
    compute_f32_rows(
        frame,
        dst.cols(),
        &dst,
        1.0,
        |sram, [conds, others], i, row| {
            cond.read_row(sram, i, conds);
            a.read_row(sram, i, row);
            b.read_row(sram, i, others);
            for ((y, &cond), &b) in row.iter_mut().zip(&*conds).zip(&*others) {
                if cond == 0.0 {
                    *y = b;
                }
            }
        },
    );
    Ok(())
}

/// Executes a `fill`.
pub(super) fn fill(frame: &mut Frame<'_>, command: &Fill) -> Result<(), Fault> {
    let extents = frame.extents(command.rows, command.cols)?;
    let dst = frame.target("dst", &command.dst, extents)?;
    compute_f32_rows::<0>(frame, dst.cols(), &dst, 1.0, |_, [], _, row| {
        row.fill(command.value);
        if command.step != 0.0 {
            for (j, y) in row.iter_mut().enumerate() {
                *y += j as f32 * command.step;
            }
        }
    });
    Ok(())
}
