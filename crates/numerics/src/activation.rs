//! Activation functions of the vector unit and of the matmul epilogue.

use crate::elementary::{erf, sigmoid, tanh};
use crate::wide::wide;

/// √½.
const SQRT_HALF: f32 = f32::from_bits(0x3f35_04f3);
/// √(2/π).
const SQRT_TWO_OVER_PI: f32 = f32::from_bits(0x3f4c_422a);
/// The cubic term of the tanh form of GELU, 0.044715.
const GELU_CUBIC: f32 = f32::from_bits(0x3d37_2713);

/// A function that is applied to each element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Activation {
    /// The element itself.
    #[default]
    None,
    /// See [`relu`].
    Relu,
    /// See [`gelu_erf`].
    GeluErf,
    /// See [`gelu_tanh`].
    GeluTanh,
    /// See [`silu`].
    Silu,
    /// See [`tanh`].
    Tanh,
    /// See [`sigmoid`].
    Sigmoid,
}

impl Activation {
    /// The function's value at `x`.
    #[inline(always)]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Activation::None => x,
            Activation::Relu => relu(x),
            Activation::GeluErf => gelu_erf(x),
            Activation::GeluTanh => gelu_tanh(x),
            Activation::Silu => silu(x),
            Activation::Tanh => tanh(x),
            Activation::Sigmoid => sigmoid(x),
        }
    }

    /// Applies the function to each element in place.
    pub fn apply_row(self, row: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => relu_row(row),
            Activation::GeluErf => gelu_erf_row(row),
            Activation::GeluTanh => gelu_tanh_row(row),
            Activation::Silu => silu_row(row),
            Activation::Tanh => tanh_row(row),
            Activation::Sigmoid => sigmoid_row(row),
        }
    }
}

/// +0 where `x < 0`, otherwise `x`: NaN and -0 pass.
#[inline(always)]
pub fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `(0.5 * x) * (1 + erf(x * √½))`; within 1.8 ulp for x ≥ 0, absolute error below 8.4·10⁻⁸ for
/// x < 0. -inf gives NaN.
#[inline(always)]
pub fn gelu_erf(x: f32) -> f32 {
    (0.5 * x) * (1.0 + erf(x * SQRT_HALF))
}

/// `(0.5 * x) * (1 + tanh(√(2/π) * (x + 0.044715 * ((x * x) * x))))`; within 1.83 ulp for x ≥ 0,
/// absolute error below 7.7·10⁻⁸ for x < 0. -inf gives NaN.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    (0.5 * x) * (1.0 + tanh(SQRT_TWO_OVER_PI * (x + GELU_CUBIC * ((x * x) * x))))
}

/// `x * sigmoid(x)`; within 2.9 ulp for x ≥ -86. -inf gives NaN.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// Replaces each element by its image.
#[inline(always)]
fn map(row: &mut [f32], f: impl Fn(f32) -> f32) {
    for x in row {
        *x = f(*x);
    }
}

wide! {
    fn relu_row(row: &mut [f32]) {
        map(row, relu);
    }

    fn gelu_erf_row(row: &mut [f32]) {
        map(row, gelu_erf);
    }

    fn gelu_tanh_row(row: &mut [f32]) {
        map(row, gelu_tanh);
    }

    fn silu_row(row: &mut [f32]) {
        map(row, silu);
    }

    fn tanh_row(row: &mut [f32]) {
        map(row, tanh);
    }

    fn sigmoid_row(row: &mut [f32]) {
        map(row, sigmoid);
    }
}
