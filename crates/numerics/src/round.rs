//! Rounding to the nearest integer, and the one NaN that leaves the machine.

/// 1.5 · 2²³: adding it to an f32 of magnitude below 2²² rounds that number to an integer, ties to
/// even, and leaves the integer in the low bits of the sum.
const MAGIC: f32 = f32::from_bits(0x4b40_0000);

/// 2²³: from here on every f32 is an integer.
const ALL_INTEGERS: f32 = f32::from_bits(0x4b00_0000);

/// Rounds to the nearest integer, ties to even; keeps the sign of zero; NaN and ±inf pass.
///
/// Exact for every input.
#[inline(always)]
pub fn round_ties_even(x: f32) -> f32 {
    let magnitude = x.abs();
    let rounded = ((magnitude + ALL_INTEGERS) - ALL_INTEGERS).copysign(x);
    if magnitude < ALL_INTEGERS { rounded } else { x }
}

/// Rounds `x` to the nearest integer, ties to even, and returns it as a float and as an integer.
///
/// Zero is +0. Holds for |x| < 2²²; other inputs give a value that the caller must not use.
#[inline(always)]
pub(crate) fn round_small(x: f32) -> (f32, i32) {
    let shifted = x + MAGIC;
    let integer = shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i32;
    (shifted - MAGIC, integer)
}

/// Replaces any NaN by the canonical one, bits `0x7fc00000`; other values pass.
#[inline(always)]
pub fn canonical(x: f32) -> f32 {
    if x.is_nan() {
        f32::from_bits(0x7fc0_0000)
    } else {
        x
    }
}
