//! The exponential function.

use super::{coefficients, horner};
use crate::round::round_small;

/// log₂ e.
const LOG2_E: f32 = f32::from_bits(0x3fb8_aa3b);
/// The upper 9 bits of ln 2 (355/512): a product with an integer below 2¹⁵ is exact.
pub(super) const LN2_HI: f32 = f32::from_bits(0x3f31_8000);
/// ln 2 - `LN2_HI`.
pub(super) const LN2_LO: f32 = f32::from_bits(0xb95e_8083);
/// The least input whose result is a normal number, -87.33654.
const LOWEST: f32 = f32::from_bits(0xc2ae_ac4f);
/// The greatest input whose result is finite, 88.72283.
const HIGHEST: f32 = f32::from_bits(0x42b1_7217);
/// (eʳ - 1 - r) / r² on |r| ≤ ln 2 / 2.
const P: [f32; 5] = coefficients([
    0x3eff_fffe,
    0x3e2a_aa46,
    0x3d2a_ac2d,
    0x3c09_1eae,
    0x3ab5_5b5e,
]);

/// eˣ, within 1 ulp.
///
/// Below -87.33654 the result is +0 (no subnormal results), above 88.72283 it is +inf; NaN gives
/// NaN; `exp(0)` is 1.
///
/// `n = round(x log₂e)`, `r = (x - n hi) - n lo`, `eˣ = 2ⁿ (1 + (r + r² P(r)))`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let (n, i) = round_small(x * LOG2_E);
    let r = (x - n * LN2_HI) - n * LN2_LO;
    let y = 1.0 + (r + (r * r) * horner(r, P));
    // Two factors, because 2¹²⁸ alone is not a finite f32.
    let half = i >> 1;
    let y = (y * power_of_two(half)) * power_of_two(i.wrapping_sub(half));
    let y = if x < LOWEST { 0.0 } else { y };
    if x > HIGHEST { f32::INFINITY } else { y }
}

/// 2ⁿ for -126 ≤ n ≤ 127, from its bits.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}
