//! IEEE half precision at the memory ports.
//!
//! Widening is exact. Narrowing rounds once, to nearest, ties to even: magnitudes from 65520 up
//! become infinite, subnormals are kept. A NaN becomes the canonical one, bits `0x7e00`.
//!
//! Both are integer operations and one of floats, all sides of a case computed, so that a row is vectorised.

use half::f16;

use crate::wide::wide;

/// Bits that f32 has more of in a significand.
const SHIFT: u32 = 23 - 10;
/// The canonical half-precision NaN.
const CANONICAL_NAN: u32 = 0x7e00;
/// 2¹¹²: between the exponents of bits that are read as f32 and those that are meant.
const TWO_112: f32 = f32::from_bits(0x7780_0000);
/// Bits of ½, whose last place is that of the subnormal halves: 2⁻²⁴.
const HALF: u32 = 0x3f00_0000;
/// Bits of 2⁻¹⁴, the least normal half.
const NORMAL_FROM: u32 = 0x3880_0000;
/// Bits of 2¹⁶: from here on everything is infinite.
const INFINITE_FROM: u32 = 0x4780_0000;

/// Rounds one value to half precision.
#[inline(always)]
pub fn narrow_f16(x: f32) -> f16 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    // Where the sum carries into the exponent, that is the rounding up to the next power of two.
    let odd = (magnitude >> SHIFT) & 1;
    let rounded = magnitude.wrapping_add((1 << (SHIFT - 1)) - 1 + odd);
    let normal = rounded.wrapping_sub(112 << 23) >> SHIFT;
    // Adding ½ rounds to its last place.
    let subnormal = (f32::from_bits(magnitude) + f32::from_bits(HALF))
        .to_bits()
        .wrapping_sub(HALF);
    let finite = if magnitude < NORMAL_FROM {
        subnormal
    } else {
        normal
    };
    let y = if magnitude < INFINITE_FROM {
        finite
    } else {
        0x7c00
    };
    let y = y | ((bits >> 16) & 0x8000);
    let y = if x.is_nan() { CANONICAL_NAN } else { y };
    f16::from_bits(y as u16)
}

/// The f32 of the same value.
#[inline(always)]
pub fn widen_f16(x: f16) -> f32 {
    let bits = u32::from(x.to_bits());
    let magnitude = (bits & 0x7fff) << SHIFT;
    // The product is exact, for subnormal halves too.
    let finite = (f32::from_bits(magnitude) * TWO_112).to_bits();
    let quiet = if magnitude > 0x7c00 << SHIFT {
        0x0040_0000
    } else {
        0
    };
    let special = magnitude | 0x7f80_0000 | quiet;
    let y = if magnitude < 0x7c00 << SHIFT {
        finite
    } else {
        special
    };
    f32::from_bits(y | ((bits & 0x8000) << 16))
}

wide! {
    /// Rounds each element to half precision.
    pub fn narrow_f16_row(row: &[f32], out: &mut [f16]) {
        assert_eq!(row.len(), out.len(), "one half for each element");
        for (y, &x) in out.iter_mut().zip(row) {
            *y = narrow_f16(x);
        }
    }

    /// Widens each element to f32.
    pub fn widen_f16_row(row: &[f16], out: &mut [f32]) {
        assert_eq!(row.len(), out.len(), "one element for each half");
        for (y, &x) in out.iter_mut().zip(row) {
            *y = widen_f16(x);
        }
    }
}
