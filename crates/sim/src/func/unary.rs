//! `unary`: a function of each element, and conversions between types.

use packwright_numerics::activation::Activation;
use packwright_numerics::elementary::{cos, erf, exp, ln, rsqrt, sin};
use packwright_packet::defs::Unary;
use packwright_packet::operand::{Elem, UnaryFn};

use super::area::Area;
use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::port::encode;
use super::rows::{compute_f32_rows, compute_rows};

/// Executes a `unary`.
pub(super) fn unary(frame: &mut Frame<'_>, command: &Unary) -> Result<(), Fault> {
    let extents = frame.extents(command.rows, command.cols)?;
    let src = frame.area("src", &command.src, extents)?;
    let dst = frame.target("dst", &command.dst, extents)?;
    refuse_overlap(&dst, &src, Sharing::Rows)?;
    let integer = |area: &Area| matches!(area.elem(), Elem::I32 | Elem::I64);
    if command.func == UnaryFn::Identity && integer(&src) && integer(&dst) {
        convert_integers(frame, &src, &dst);
        return Ok(());
    }
    compute_f32_rows::<0>(frame, src.cols(), &dst, 1.0, |sram, [], i, row| {
        src.read_row(sram, i, row);
        apply_unary(command.func, row);
    });
    Ok(())
}

/// Converts between i32 and i64 in integers; what does not fit saturates.
fn convert_integers(frame: &mut Frame<'_>, src: &Area, dst: &Area) {
    let room = || vec![0i64; src.cols()];
    let targets = [(dst, 0..dst.row_bytes())];
    compute_rows(
        frame,
        [src.rows(), src.cols()],
        &targets,
        room,
        |sram, row, i, out| {
            src.read_integers(sram, i, row);
            if dst.elem() == Elem::I64 {
                encode(row, out, i64::to_le_bytes);
            } else {
                encode(row, out, |x| saturated(x).to_le_bytes());
            }
        },
    );
}

/// The nearest i32.
fn saturated(x: i64) -> i32 {
    x.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// Replaces each element by the function's value.
pub(super) fn apply_unary(func: UnaryFn, row: &mut [f32]) {
    match func {
        UnaryFn::Identity => {}
        UnaryFn::Relu => Activation::Relu.apply_row(row),
        UnaryFn::GeluErf => Activation::GeluErf.apply_row(row),
        UnaryFn::GeluTanh => Activation::GeluTanh.apply_row(row),
        UnaryFn::Silu => Activation::Silu.apply_row(row),
        UnaryFn::Sigmoid => Activation::Sigmoid.apply_row(row),
        UnaryFn::Tanh => Activation::Tanh.apply_row(row),
        UnaryFn::Erf => map(row, erf),
        UnaryFn::Exp => map(row, exp),
        UnaryFn::Ln => map(row, ln),
        UnaryFn::Sqrt => map(row, f32::sqrt),
        UnaryFn::Rsqrt => map(row, rsqrt),
        UnaryFn::Reciprocal => map(row, |x| 1.0 / x),
        UnaryFn::Neg => map(row, |x| -x),
        UnaryFn::Abs => map(row, f32::abs),
        UnaryFn::Sin => map(row, sin),
        UnaryFn::Cos => map(row, cos),
        UnaryFn::Not => map(row, |x| if x == 0.0 { 1.0 } else { 0.0 }),
    }
}

/// Replaces each element by its image.
fn map(row: &mut [f32], f: impl Fn(f32) -> f32) {
    for x in row {
        *x = f(*x);
    }
}
