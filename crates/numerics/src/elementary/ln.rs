//! The natural logarithm.

use super::exp::{LN2_HI, LN2_LO};
use super::{coefficients, horner};

/// Bits of √½, where the significand range starts.
const SQRT_HALF: u32 = 0x3f35_04f3;
/// 2²³, which makes a subnormal normal.
const TWO_23: f32 = f32::from_bits(0x4b00_0000);
/// (ln(1 + f) - f + f²/2) / f³ on √½ ≤ 1 + f < √2.
const P: [f32; 8] = coefficients([
    0x3eaa_aaaa,
    0xbe80_0113,
    0x3e4c_d004,
    0xbe2a_3923,
    0x3e11_6d12,
    0xbe06_c2a0,
    0x3e02_ada6,
    0xbd9c_5aa2,
]);

/// ln x, within 0.87 ulp.
///
/// ±0 gives -inf, x < 0 gives NaN, +inf gives +inf, NaN gives NaN; `ln(1)` is +0.
///
/// `x = 2ᵉ (1 + f)` with √½ ≤ 1 + f < √2, then
/// `ln x = e hi + (f + (((f f²) P(f) + e lo) - f²/2))`.
#[inline]
pub fn ln(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let bits = if subnormal { x * TWO_23 } else { x }.to_bits();
    let shifted = (bits.wrapping_sub(SQRT_HALF) as i32) >> 23;
    let f = f32::from_bits(bits.wrapping_sub((shifted as u32) << 23)) - 1.0;
    let e = if subnormal {
        shifted.wrapping_sub(23)
    } else {
        shifted
    } as f32;
    let ff = f * f;
    let y = (f * ff) * horner(f, P);
    let y = (y + e * LN2_LO) - 0.5 * ff;
    let y = e * LN2_HI + (f + y);
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    let y = if x == f32::INFINITY { x } else { y };
    // Also true where x is NaN.
    if x >= 0.0 { y } else { f32::NAN }
}
