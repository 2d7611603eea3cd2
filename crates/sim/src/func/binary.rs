//! `binary`: a function of two elements.

use packwright_numerics::elementary::pow;
use packwright_packet::defs::Binary;
use packwright_packet::operand::BinaryFn;

use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::rows::compute_f32_rows;

/// Executes a `binary`.
pub(super) fn binary(frame: &mut Frame<'_>, command: &Binary) -> Result<(), Fault> {
    let extents = frame.extents(command.rows, command.cols)?;
    let a = frame.area("a", &command.a, extents)?;
    let b = frame.area("b", &command.b, extents)?;
    let dst = frame.target("dst", &command.dst, extents)?;
    refuse_overlap(&dst, &a, Sharing::Rows)?;
    refuse_overlap(&dst, &b, Sharing::Rows)?;
    compute_f32_rows(frame, dst.cols(), &dst, 1.0, |sram, [right], i, row| {
        a.read_row(sram, i, row);
        b.read_row(sram, i, right);
        apply_binary(command.func, row, right);
    });
    Ok(())
}

/// Replaces each element of `a` by the function's value.
fn apply_binary(func: BinaryFn, a: &mut [f32], b: &[f32]) {
    match func {
        BinaryFn::Add => zip(a, b, |a, b| a + b),
        BinaryFn::Sub => zip(a, b, |a, b| a - b),
        BinaryFn::Mul => zip(a, b, |a, b| a * b),
        BinaryFn::Div => zip(a, b, |a, b| a / b),
        BinaryFn::Min => zip(a, b, smaller),
        BinaryFn::Max => zip(a, b, larger),
        BinaryFn::Pow => zip(a, b, pow),
        BinaryFn::Equal => zip(a, b, |a, b| truth(a == b)),
        BinaryFn::Less => zip(a, b, |a, b| truth(a < b)),
        BinaryFn::LessOrEqual => zip(a, b, |a, b| truth(a <= b)),
        BinaryFn::Greater => zip(a, b, |a, b| truth(a > b)),
        BinaryFn::GreaterOrEqual => zip(a, b, |a, b| truth(a >= b)),
        BinaryFn::And => zip(a, b, |a, b| truth(a != 0.0 && b != 0.0)),
        BinaryFn::Or => zip(a, b, |a, b| truth(a != 0.0 || b != 0.0)),
    }
}

/// Replaces each element of `a` by `f(a, b)`.
fn zip(a: &mut [f32], b: &[f32], f: impl Fn(f32, f32) -> f32) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = f(*a, b);
    }
}

/// 1 or 0.
fn truth(holds: bool) -> f32 {
    if holds { 1.0 } else { 0.0 }
}

/// The smaller number: NaN where either is, -0 below +0.
fn smaller(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else if a == b {
        f32::from_bits(a.to_bits() | b.to_bits())
    } else if a < b {
        a
    } else {
        b
    }
}

/// The larger number: NaN where either is, -0 below +0.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else if a == b {
        f32::from_bits(a.to_bits() & b.to_bits())
    } else if a > b {
        a
    } else {
        b
    }
}

#[cfg(test)]
mod tests {
    use packwright_numerics::reduce::{max_row, min_row};

    use super::{larger, smaller};

    #[test]
    fn extremes_agree_with_those_of_a_row() {
        let samples = [
            0.0,
            -0.0,
            1.5,
            -2.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ];
        for a in samples {
            for b in samples {
                assert_eq!(
                    larger(a, b).to_bits(),
                    max_row(&[a, b]).to_bits(),
                    "{a} {b}"
                );
                assert_eq!(
                    smaller(a, b).to_bits(),
                    min_row(&[a, b]).to_bits(),
                    "{a} {b}"
                );
            }
        }
    }
}
