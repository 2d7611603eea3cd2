//! Symmetric int8: from f32 to i8 and back, with scales that are given or found at run time.
//!
//! An i8 value `q` in [-127, 127] stands for `q * scale`. A static scale is a number of the
//! recipe; a dynamic one is found per row, or per group of neighbours in a row, from the largest
//! magnitude in it. Weights use the same rule per output channel.

use crate::reduce::amax;
use crate::round::round_small;
use crate::wide::wide;

/// Magnitudes below this count as zero when a scale is derived: 2⁻¹¹⁹.
///
/// It keeps every derived scale and its inverse normal numbers.
pub const SMALLEST_AMAX: f32 = f32::from_bits(0x0400_0000);

/// The largest magnitude that a derived scale covers: 2¹²⁷; beyond it values saturate.
///
/// It keeps `127 * step` finite.
pub const LARGEST_AMAX: f32 = f32::from_bits(0x7f00_0000);

/// A scale and the factor that quantises with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// What one step of the i8 value is worth.
    pub step: f32,
    /// What a value is multiplied with to become an i8 value; 0 where `step` is 0.
    pub inverse: f32,
}

impl Scale {
    /// The given `step`, a normal f32 above 0: `inverse = 1 / step`.
    #[inline(always)]
    pub fn fixed(step: f32) -> Scale {
        Scale {
            step,
            inverse: 1.0 / step,
        }
    }

    /// The scale that maps magnitudes up to `amax` to [-127, 127].
    ///
    /// `a = min(amax, 2¹²⁷)`, `step = a / 127`, `inverse = 127 / a`; both are 0 where `a` is below
    /// 2⁻¹¹⁹ or NaN. See [`LARGEST_AMAX`], [`SMALLEST_AMAX`].
    #[inline(always)]
    pub fn from_amax(amax: f32) -> Scale {
        let a = if amax > LARGEST_AMAX {
            LARGEST_AMAX
        } else {
            amax
        };
        if a >= SMALLEST_AMAX {
            Scale {
                step: a / 127.0,
                inverse: 127.0 / a,
            }
        } else {
            Scale {
                step: 0.0,
                inverse: 0.0,
            }
        }
    }
}

/// `q = round_ties_even(clamp(x * inverse, -127, 127))`; NaN gives 0.
///
/// Clamping before rounding gives the same value as clamping after it.
#[inline(always)]
pub fn quantize(x: f32, inverse: f32) -> i8 {
    let v = x * inverse;
    let v = if v < -127.0 { -127.0 } else { v };
    let v = if v > 127.0 { 127.0 } else { v };
    let v = if v.is_nan() { 0.0 } else { v };
    round_small(v).1 as i8
}

/// `q = round_ties_even(x / step) + zero`, within [-128, 127]; NaN gives `zero`.
#[inline(always)]
pub fn quantize_affine(x: f32, step: f32, zero: i8) -> i8 {
    let (low, high) = (-128.0 - f32::from(zero), 127.0 - f32::from(zero));
    let v = x / step;
    let v = if v < low { low } else { v };
    let v = if v > high { high } else { v };
    let v = if v.is_nan() { 0.0 } else { v };
    (round_small(v).1 + i32::from(zero)) as i8
}

/// `x = (q - zero) as f32 * step`, rounded once.
#[inline(always)]
pub fn dequantize_affine(q: i8, step: f32, zero: i8) -> f32 {
    (i32::from(q) - i32::from(zero)) as f32 * step
}

/// `x = q as f32 * step`, rounded once.
#[inline(always)]
pub fn dequantize(q: i8, step: f32) -> f32 {
    f32::from(q) * step
}

wide! {
    /// Quantises each element of `row` with one factor.
    pub fn quantize_row(row: &[f32], inverse: f32, q: &mut [i8]) {
        assert_eq!(row.len(), q.len(), "one i8 value for each element");
        quantize_each(row, inverse, q);
    }
}

/// Quantises each element of `row` with one factor.
#[inline(always)]
fn quantize_each(row: &[f32], inverse: f32, q: &mut [i8]) {
    for (q, &x) in q.iter_mut().zip(row) {
        *q = quantize(x, inverse);
    }
}

wide! {
    /// Quantises each element of `row` with one scale and a zero point.
    pub fn quantize_affine_row(row: &[f32], step: f32, zero: i8, q: &mut [i8]) {
        assert_eq!(row.len(), q.len(), "one i8 value for each element");
        for (q, &x) in q.iter_mut().zip(row) {
            *q = quantize_affine(x, step, zero);
        }
    }
}

/// How much smaller the step of the second part is where the first one has a fixed scale.
pub const PART_STEPS: f32 = 254.0;

/// Quantises a row in two parts, each in `k / group` groups with scales of their own: `q` receives the row
/// and, behind it, what quantising has lost, `steps` the scales of both. With a fixed `scale` each part is
/// one group, and the second step is [`PART_STEPS`] times smaller. `lost` is room for a row.
///
/// Panics unless `q` holds two rows, and `steps` a scale for each group of both.
pub fn quantize_parts_row(
    row: &[f32],
    scale: Option<f32>,
    lost: &mut [f32],
    q: &mut [i8],
    steps: &mut [f32],
) {
    assert_eq!(q.len(), 2 * row.len(), "two parts");
    assert_eq!(lost.len(), row.len(), "room for a row");
    let (main, rest) = q.split_at_mut(row.len());
    let (main_steps, rest_steps) = steps.split_at_mut(steps.len() / 2);
    assert_eq!(
        main_steps.len(),
        rest_steps.len(),
        "as many scales for both parts"
    );
    let group = row.len() / main_steps.len().max(1);
    part(row, scale, group, main, main_steps);
    dequantize_dynamic_row(main, group, main_steps, lost);
    for (lost, &x) in lost.iter_mut().zip(row) {
        *lost = x - *lost;
    }
    part(
        lost,
        scale.map(|step| step / PART_STEPS),
        group,
        rest,
        rest_steps,
    );
}

/// One part of a row.
fn part(row: &[f32], scale: Option<f32>, group: usize, q: &mut [i8], steps: &mut [f32]) {
    match scale {
        Some(step) => {
            quantize_row(row, Scale::fixed(step).inverse, q);
            steps.fill(step);
        }
        None => quantize_dynamic_row(row, group, q, steps),
    }
}

wide! {
    /// Dequantises each element of `q` with one scale.
    pub fn dequantize_row(q: &[i8], step: f32, row: &mut [f32]) {
        assert_eq!(q.len(), row.len(), "one element for each i8 value");
        for (x, &q) in row.iter_mut().zip(q) {
            *x = dequantize(q, step);
        }
    }
}

wide! {
    /// Quantises `row` in groups of `group` neighbours, each with the scale of its own largest
    /// magnitude; `group == row.len()` is one scale for the whole row.
    ///
    /// `steps` receives one scale per group. A group of zeros gives scale 0 and zeros. NaN elements
    /// are left out of the maximum and become 0; ±inf saturates.
    ///
    /// Panics unless `group` divides the length of the row into `steps.len()` groups.
    pub fn quantize_dynamic_row(row: &[f32], group: usize, q: &mut [i8], steps: &mut [f32]) {
        assert_eq!(row.len(), q.len(), "one i8 value for each element");
        assert_eq!(row.len(), group * steps.len(), "one scale for each group");
        if row.is_empty() {
            steps.fill(0.0);
            return;
        }
        let groups = row.chunks_exact(group).zip(q.chunks_exact_mut(group));
        for ((row, q), step) in groups.zip(steps) {
            let scale = Scale::from_amax(amax(row));
            quantize_each(row, scale.inverse, q);
            *step = scale.step;
        }
    }
}

/// Dequantises a row whose groups have scales of their own: the inverse of
/// [`quantize_dynamic_row`] up to rounding.
pub fn dequantize_dynamic_row(q: &[i8], group: usize, steps: &[f32], row: &mut [f32]) {
    assert_eq!(q.len(), row.len(), "one element for each i8 value");
    assert_eq!(q.len(), group * steps.len(), "one scale for each group");
    if q.is_empty() {
        return;
    }
    let groups = q.chunks_exact(group).zip(row.chunks_exact_mut(group));
    for ((q, row), &step) in groups.zip(steps) {
        dequantize_row(q, step, row);
    }
}

/// How many columns of weights are looked at together.
const COLUMN_BLOCK: usize = 64;

/// Quantises weights `[K, N]` (row-major, N output channels) with one scale per column.
pub fn quantize_columns(weights: &[f32], columns: usize, q: &mut [i8], steps: &mut [f32]) {
    assert_eq!(weights.len(), q.len(), "one i8 value for each weight");
    assert_eq!(steps.len(), columns, "one scale for each column");
    for (block, steps) in steps.chunks_mut(COLUMN_BLOCK).enumerate() {
        quantize_column_block(weights, columns, block * COLUMN_BLOCK, q, steps);
    }
}

/// Quantises the columns from `first` on, as many as there are `steps`.
fn quantize_column_block(
    weights: &[f32],
    columns: usize,
    first: usize,
    q: &mut [i8],
    steps: &mut [f32],
) {
    let range = first..first + steps.len();
    let mut largest = [0.0f32; COLUMN_BLOCK];
    for row in weights.chunks_exact(columns) {
        for (largest, &w) in largest.iter_mut().zip(&row[range.clone()]) {
            // NaN fails the comparison, so it is left out.
            let magnitude = w.abs();
            *largest = if magnitude > *largest {
                magnitude
            } else {
                *largest
            };
        }
    }
    let scales = largest.map(Scale::from_amax);
    for (step, scale) in steps.iter_mut().zip(scales) {
        *step = scale.step;
    }
    let rows = weights.chunks_exact(columns);
    for (row, q) in rows.zip(q.chunks_exact_mut(columns)) {
        let block = q[range.clone()].iter_mut().zip(&row[range.clone()]);
        for ((q, &w), scale) in block.zip(&scales) {
            *q = quantize(w, scale.inverse);
        }
    }
}

/// Quantises weights `[N, K]` (row-major, N output channels) with one scale per row.
pub fn quantize_rows(weights: &[f32], rows: usize, q: &mut [i8], steps: &mut [f32]) {
    assert_eq!(steps.len(), rows, "one scale for each row");
    if rows == 0 {
        return;
    }
    quantize_dynamic_row(weights, weights.len() / rows, q, steps);
}
