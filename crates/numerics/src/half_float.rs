//! IEEE half precision at the memory ports.
//!
//! Widening is exact. Narrowing rounds once, to nearest, ties to even: magnitudes from 65520 up
//! become infinite, subnormals are kept. A NaN becomes the canonical one, bits `0x7e00`.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// The canonical half-precision NaN.
const CANONICAL_NAN: f16 = f16::from_bits(0x7e00);

/// Rounds one value to half precision.
#[inline]
pub fn narrow_f16(x: f32) -> f16 {
    if x.is_nan() {
        CANONICAL_NAN
    } else {
        f16::from_f32(x)
    }
}

/// The f32 of the same value.
#[inline]
pub fn widen_f16(x: f16) -> f32 {
    x.to_f32()
}

/// Rounds each element to half precision.
pub fn narrow_f16_row(row: &[f32], out: &mut [f16]) {
    assert_eq!(row.len(), out.len(), "one half for each element");
    out.convert_from_f32_slice(row);
    for y in out {
        if y.to_bits() & 0x7fff > 0x7c00 {
            *y = CANONICAL_NAN;
        }
    }
}

/// Widens each element to f32.
pub fn widen_f16_row(row: &[f16], out: &mut [f32]) {
    assert_eq!(row.len(), out.len(), "one element for each half");
    row.convert_to_f32_slice(out);
}
