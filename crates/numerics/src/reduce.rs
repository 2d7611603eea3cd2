//! Reductions over a row, with a fixed order of summation.
//!
//! A sum uses 16 lanes. Lane j starts at +0 and adds the elements j, j + 16, j + 32, … in this
//! order; then the lanes fold pairwise: lane j += lane j + 8 for j < 8, then + 4, + 2, + 1. So
//! elements that are +0 at the end of a row never change a sum, and a sum of n terms is off by at
//! most about (n/16 + 4) roundings.

use crate::elementary::{exp, ln};
use crate::round::canonical;

/// How many partial sums a row reduction keeps.
pub const LANES: usize = 16;

/// The sum of a row; +0 for an empty row.
#[inline(always)]
pub fn sum_lanes(row: &[f32]) -> f32 {
    sum_of(row, |x| x)
}

/// Running sums in place: `y[0] = x[0]`, `y[j] = y[j - 1] + x[j]`, in this order.
pub fn running_sum_row(row: &mut [f32]) {
    for j in 1..row.len() {
        row[j] += row[j - 1];
    }
}

/// The sum of `x * x`, each square rounded before it is added.
#[inline(always)]
pub fn sum_squares(row: &[f32]) -> f32 {
    sum_of(row, |x| x * x)
}

/// `sum_lanes(row) / n`; NaN for an empty row.
#[inline(always)]
pub fn mean_row(row: &[f32]) -> f32 {
    sum_lanes(row) / row.len() as f32
}

/// The largest element; NaN where any element is NaN, -inf for an empty row; +0 is above -0.
#[inline(always)]
pub fn max_row(row: &[f32]) -> f32 {
    let key = |x: f32| if x.is_nan() { i32::MAX } else { order_key(x) };
    let largest = fold_keys(row, order_key(f32::NEG_INFINITY), key, i32::max);
    canonical(from_order_key(largest))
}

/// The smallest element; NaN where any element is NaN, +inf for an empty row; -0 is below +0.
pub fn min_row(row: &[f32]) -> f32 {
    let key = |x: f32| if x.is_nan() { i32::MIN } else { order_key(x) };
    let smallest = fold_keys(row, order_key(f32::INFINITY), key, i32::min);
    canonical(from_order_key(smallest))
}

/// The index of the first element that is the largest (NaN counts as the largest); `None` for an
/// empty row.
pub fn argmax_row(row: &[f32]) -> Option<usize> {
    let largest = max_row(row);
    if largest.is_nan() {
        row.iter().position(|x| x.is_nan())
    } else {
        let bits = largest.to_bits();
        row.iter().position(|x| x.to_bits() == bits)
    }
}

/// The largest magnitude; NaN elements are left out; 0 for an empty row.
#[inline(always)]
pub fn amax(row: &[f32]) -> f32 {
    // The bits of magnitudes are ordered as the magnitudes are, and so as integers.
    let key = |x: f32| {
        if x.is_nan() {
            0
        } else {
            x.abs().to_bits() as i32
        }
    };
    f32::from_bits(fold_keys(row, 0, key, i32::max) as u32)
}

/// `m + ln(sum(exp(x - m)))` with m the largest element; m itself where that is ±inf or NaN.
pub fn logsumexp_row(row: &[f32]) -> f32 {
    let m = max_row(row);
    if m.is_finite() {
        m + ln(sum_of(row, |x| exp(x - m)))
    } else {
        m
    }
}

/// The sum of `term(x)` in the order of the lanes.
#[inline(always)]
pub(crate) fn sum_of(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += term(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += term(x);
    }
    for half in [8, 4, 2, 1] {
        for j in 0..half {
            lanes[j] += lanes[j + half];
        }
    }
    lanes[0]
}

/// Combines the keys of a row by an operation for which the order does not matter.
#[inline(always)]
fn fold_keys(
    row: &[f32],
    start: i32,
    key: impl Fn(f32) -> i32,
    combine: impl Fn(i32, i32) -> i32,
) -> i32 {
    let mut lanes = [start; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = combine(*lane, key(x));
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = combine(*lane, key(x));
    }
    lanes.into_iter().fold(start, combine)
}

/// An integer that orders like the number: -inf < … < -0 < +0 < … < +inf.
#[inline(always)]
fn order_key(x: f32) -> i32 {
    let bits = x.to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The number with the given [`order_key`].
#[inline(always)]
fn from_order_key(key: i32) -> f32 {
    f32::from_bits((key ^ (((key >> 31) as u32) >> 1) as i32) as u32)
}
