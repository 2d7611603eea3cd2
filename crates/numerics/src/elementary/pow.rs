//! Powers.

use super::{exp, ln, rsqrt};

/// xʸ.
///
/// The exponents 0, 1, 2, 3, ½, -½ and -1 have their own formulas: 1, x, x·x, (x·x)·x, √x, 1/√x
/// and 1/x. All others are `exp(y * ln|x|)`, whose relative error grows with |y ln x| and reaches
/// 10⁻⁵ near the ends of the range; results below 2⁻¹²⁶ are 0.
///
/// A negative base (or -0) needs an integer exponent: the result takes the sign of the base where
/// that is odd; for a negative base and a fractional exponent it is NaN. Beyond |y| = 2²⁴ every
/// exponent counts as an even integer. NaN gives NaN, except for y = 0.
#[inline]
pub fn pow(x: f32, y: f32) -> f32 {
    if y == 0.0 {
        1.0
    } else if y == 1.0 {
        x
    } else if y == 2.0 {
        x * x
    } else if y == 3.0 {
        (x * x) * x
    } else if y == 0.5 {
        x.sqrt()
    } else if y == -0.5 {
        rsqrt(x)
    } else if y == -1.0 {
        1.0 / x
    } else {
        general(x, y)
    }
}

/// `exp(y * ln|x|)` with the sign of an odd power.
#[inline]
fn general(x: f32, y: f32) -> f32 {
    let magnitude = exp(y * ln(x.abs()));
    let small = y.abs() < 16_777_216.0;
    let integer = !small || (y as i32) as f32 == y;
    let odd = small && integer && (y as i32) & 1 == 1;
    if x < 0.0 && !integer {
        f32::NAN
    } else if odd {
        magnitude.copysign(x)
    } else {
        magnitude
    }
}
