//! Sine and cosine, as positional encodings need them.

use super::{coefficients, horner};
use crate::round::round_small;

/// 2/π.
const TWO_OVER_PI: f32 = f32::from_bits(0x3f22_f983);
/// π/2 in four parts; the first three have 7 bits, so that their products with n are exact.
const PI_2: [f32; 4] = coefficients([0x3fc8_0000, 0x3c06_0000, 0x38f6_0000, 0x34a8_885a]);
/// The largest magnitude that is reduced: 2¹⁷.
const LARGEST: f32 = 131_072.0;
/// (sin(r) - r) / r³ in r², for |r| ≤ π/4.
const SIN: [f32; 3] = coefficients([0xbe2a_aaa3, 0x3c08_83bc, 0xb94c_a9ff]);
/// (cos(r) - 1 + r²/2) / r⁴ in r², for |r| ≤ π/4.
const COS: [f32; 3] = coefficients([0x3d2a_aaa5, 0xbab6_060d, 0x37cc_f077]);

/// Sine and cosine of `x` radians, absolute error below 9.5·10⁻⁸ for |x| ≤ 2¹⁷.
///
/// Beyond 2¹⁷ (131072) and for NaN both are NaN.
///
/// `n = round(x 2/π)`, `r = (((x - n c₀) - n c₁) - n c₂) - n c₃`, then the polynomials of r, which
/// the two low bits of n swap and negate.
#[inline]
pub fn sin_cos(x: f32) -> (f32, f32) {
    let (n, i) = round_small(x * TWO_OVER_PI);
    let r = (((x - n * PI_2[0]) - n * PI_2[1]) - n * PI_2[2]) - n * PI_2[3];
    let t = r * r;
    let s = r + (r * t) * horner(t, SIN);
    let c = (1.0 - 0.5 * t) + (t * t) * horner(t, COS);
    let swap = i & 1 != 0;
    let sin = negate_if(if swap { c } else { s }, i & 2 != 0);
    let cos = negate_if(if swap { s } else { c }, i.wrapping_add(1) & 2 != 0);
    let inside = x.abs() <= LARGEST;
    (
        if inside { sin } else { f32::NAN },
        if inside { cos } else { f32::NAN },
    )
}

/// sin x; see [`sin_cos`].
#[inline]
pub fn sin(x: f32) -> f32 {
    sin_cos(x).0
}

/// cos x; see [`sin_cos`].
#[inline]
pub fn cos(x: f32) -> f32 {
    sin_cos(x).1
}

/// Flips the sign bit.
#[inline]
fn negate_if(x: f32, negative: bool) -> f32 {
    f32::from_bits(x.to_bits() ^ (u32::from(negative) << 31))
}
