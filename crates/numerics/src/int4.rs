//! Weights of four bits: blocks of neighbours that share a step, two values in a byte.
//!
//! An i4 value `q` in [-8, 7] stands for `q * step`. The step of a block maps its element of largest
//! magnitude to -8, so it has the opposite sign of that element, and is an f16. There is no zero point.

use half::f16;

use crate::half_float::{narrow_f16, widen_f16};
use crate::round::round_small;

/// The lowest value; the element of largest magnitude of a block becomes it.
pub const LOWEST: f32 = -8.0;
/// The highest value.
pub const HIGHEST: f32 = 7.0;

/// The step of a block: its first element of largest magnitude over -8, rounded to f16; the largest f16
/// where that is infinite, +0 where the block has no number but 0. NaN elements are left out.
pub fn step_of(block: &[f32]) -> f16 {
    let mut extreme = 0.0f32;
    for &x in block {
        // NaN fails the comparison, so it is left out.
        if x.abs() > extreme.abs() {
            extreme = x;
        }
    }
    let step = narrow_f16(extreme / LOWEST);
    if step.to_bits() & 0x7fff == 0 {
        return f16::ZERO;
    }
    if step.is_infinite() {
        return f16::MAX.copysign(step);
    }
    step
}

/// `q = round_ties_even(clamp(x / step, -8, 7))`; 0 for NaN and where the step is 0.
#[inline]
pub fn quantize(x: f32, step: f16) -> i8 {
    let step = widen_f16(step);
    let v = if step == 0.0 { 0.0 } else { x / step };
    let v = if v < LOWEST { LOWEST } else { v };
    let v = if v > HIGHEST { HIGHEST } else { v };
    let v = if v.is_nan() { 0.0 } else { v };
    round_small(v).1 as i8
}

/// `x = q as f32 * step`, rounded once.
#[inline]
pub fn dequantize(q: i8, step: f16) -> f32 {
    f32::from(q) * widen_f16(step)
}

/// Quantises a row in blocks of `block` neighbours, each with its own step.
///
/// Panics unless `block` divides the length of the row into `steps.len()` blocks.
pub fn quantize_row(row: &[f32], block: usize, q: &mut [i8], steps: &mut [f16]) {
    assert_eq!(row.len(), q.len(), "one value for each element");
    assert_eq!(row.len(), block * steps.len(), "one step for each block");
    if row.is_empty() {
        return;
    }
    let blocks = row.chunks_exact(block).zip(q.chunks_exact_mut(block));
    for ((row, q), to) in blocks.zip(steps) {
        let step = step_of(row);
        for (q, &x) in q.iter_mut().zip(row) {
            *q = quantize(x, step);
        }
        *to = step;
    }
}

/// Two values a byte, the earlier in the low half; half a byte is left over where their number is odd.
pub fn pack(q: &[i8], bytes: &mut [u8]) {
    assert_eq!(bytes.len(), q.len().div_ceil(2), "two values a byte");
    let (pairs, last) = q.as_chunks::<2>();
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = (pair[0] as u8 & 15) | (pair[1] as u8) << 4;
    }
    if let ([last], Some(byte)) = (last, bytes.last_mut()) {
        *byte = *last as u8 & 15;
    }
}

/// The values of packed bytes, as many as there is room for.
#[inline]
pub fn unpack(bytes: &[u8], q: &mut [i8]) {
    assert_eq!(bytes.len(), q.len().div_ceil(2), "two values a byte");
    let (pairs, last) = q.as_chunks_mut::<2>();
    for (pair, &byte) in pairs.iter_mut().zip(bytes) {
        *pair = unpacked(byte);
    }
    if let ([last], Some(&byte)) = (last, bytes.last()) {
        *last = unpacked(byte)[0];
    }
}

/// The two values of a byte, the earlier first.
#[inline]
pub fn unpacked(byte: u8) -> [i8; 2] {
    [((byte << 4) as i8) >> 4, (byte as i8) >> 4]
}
