//! Integer products, their way to f32, and the epilogue.
//!
//! ```text
//!   i32 per group ─▶ × a_scale (× b_step), added in group order ─▶ × b_scale ─▶ × alpha ─▶ + bias
//!                 ─▶ activation ─▶ + residual ─▶ output port
//! ```

use crate::activation::Activation;
use crate::wide::wide;

/// The longest inner dimension: 2¹⁷ products of at most 2¹⁴ fit in an i32 with their sign, for
/// operands in [-127, 127].
pub const MAX_INNER: usize = 1 << 17;

/// `sum(a * b)` exactly. At most [`MAX_INNER`] elements; values in [-127, 127].
#[inline]
pub fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    assert_eq!(a.len(), b.len(), "operands of one length");
    debug_assert!(a.len() <= MAX_INNER, "no overflow");
    let products = a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b));
    products.fold(0, i32::wrapping_add)
}

/// `acc[n] += a * b[n]`: one step of the inner dimension, for a held operand `[K, N]`.
#[inline]
pub fn add_outer_row(a: i8, b: &[i8], acc: &mut [i32]) {
    assert_eq!(b.len(), acc.len(), "one sum for each column");
    for (acc, &b) in acc.iter_mut().zip(b) {
        *acc = acc.wrapping_add(i32::from(a) * i32::from(b));
    }
}

/// The f32 of one element: `acc[0] * step[0]`, then `+ acc[g] * step[g]` for g = 1, 2, …
///
/// Each integer is rounded to f32 (ties to even, exact up to 2²⁴), each product and each sum is
/// rounded. A static scale, or one per row, is the case of a single group. No group gives +0.
#[inline]
pub fn combine_groups(acc: &[i32], steps: &[f32]) -> f32 {
    assert_eq!(acc.len(), steps.len(), "one scale for each group");
    let mut products = acc.iter().zip(steps).map(|(&acc, &step)| acc as f32 * step);
    let first = products.next().unwrap_or(0.0);
    products.fold(first, |sum, product| sum + product)
}

wide! {
    /// The first group of a row of results: `y[n] = acc[n] * step`.
    pub fn start_groups_row(acc: &[i32], step: f32, y: &mut [f32]) {
        assert_eq!(acc.len(), y.len(), "one result for each sum");
        for (y, &acc) in y.iter_mut().zip(acc) {
            *y = acc as f32 * step;
        }
    }

    /// A further group of a row of results: `y[n] = y[n] + acc[n] * step`.
    pub fn add_group_row(acc: &[i32], step: f32, y: &mut [f32]) {
        assert_eq!(acc.len(), y.len(), "one result for each sum");
        for (y, &acc) in y.iter_mut().zip(acc) {
            *y += acc as f32 * step;
        }
    }

    /// The first part of a row of results where each column of weights has a step of its own in it:
    /// `y[n] = (acc[n] * step) * columns[n]`.
    pub fn start_blocks_row(acc: &[i32], step: f32, columns: &[f32], y: &mut [f32]) {
        assert_eq!(acc.len(), y.len(), "one result for each sum");
        assert_eq!(columns.len(), y.len(), "one step for each column");
        for ((y, &acc), &column) in y.iter_mut().zip(acc).zip(columns) {
            *y = acc as f32 * step * column;
        }
    }

    /// A further part: `y[n] = y[n] + (acc[n] * step) * columns[n]`.
    pub fn add_blocks_row(acc: &[i32], step: f32, columns: &[f32], y: &mut [f32]) {
        assert_eq!(acc.len(), y.len(), "one result for each sum");
        assert_eq!(columns.len(), y.len(), "one step for each column");
        for ((y, &acc), &column) in y.iter_mut().zip(acc).zip(columns) {
            *y += acc as f32 * step * column;
        }
    }
}

/// The scale of the held operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ColumnScale<'a> {
    /// One for all columns.
    All(f32),
    /// One for each column.
    Each(&'a [f32]),
}

/// What happens to a row of sums before it is stored; the residual comes with each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epilogue<'a> {
    /// The scale of the held operand.
    pub scale: ColumnScale<'a>,
    /// A further factor, 1/√d of attention scores say; 1 changes nothing.
    pub alpha: f32,
    /// Added to each column.
    pub bias: Option<&'a [f32]>,
    /// Applied after the bias.
    pub activation: Activation,
}

impl Epilogue<'_> {
    /// Scale 1, alpha 1, no bias, no activation.
    pub const IDENTITY: Epilogue<'static> = Epilogue {
        scale: ColumnScale::All(1.0),
        alpha: 1.0,
        bias: None,
        activation: Activation::None,
    };

    /// [`finish_element`] on rows of sums in place, which lie one behind the other; other slices have
    /// a row's length. There is no residual.
    pub fn finish_rows(&self, y: &mut [f32], columns: usize) {
        scale_rows(y, columns, self.scale, self.alpha, self.bias);
        self.activation.apply_row(y);
    }

    /// [`finish_element`] on a row of sums in place; each slice has the row's length.
    pub fn finish_row(&self, y: &mut [f32], residual: Option<&[f32]>) {
        scale_rows(y, y.len(), self.scale, self.alpha, self.bias);
        self.activation.apply_row(y);
        if let Some(residual) = residual {
            add(y, residual);
        }
    }
}

wide! {
    /// What comes before the activation, for rows of `columns` elements.
    fn scale_rows(
        y: &mut [f32],
        columns: usize,
        scale: ColumnScale<'_>,
        alpha: f32,
        bias: Option<&[f32]>,
    ) {
        for y in y.chunks_exact_mut(columns.max(1)) {
            match scale {
                ColumnScale::All(scale) => multiply(y, scale),
                ColumnScale::Each(scale) => {
                    assert_eq!(y.len(), scale.len(), "one scale for each column");
                    for (y, &scale) in y.iter_mut().zip(scale) {
                        *y *= scale;
                    }
                }
            }
            multiply(y, alpha);
            if let Some(bias) = bias {
                add(y, bias);
            }
        }
    }
}

/// One element's epilogue: `y = acc * b_scale`, `y = y * alpha`, `y = y + bias`,
/// `y = activation(y)`, `y = y + residual`, each step rounded to f32; missing parts are skipped.
#[inline]
pub fn finish_element(
    acc: f32,
    b_scale: f32,
    alpha: f32,
    bias: Option<f32>,
    activation: Activation,
    residual: Option<f32>,
) -> f32 {
    let y = (acc * b_scale) * alpha;
    let y = bias.map_or(y, |bias| y + bias);
    let y = activation.apply(y);
    residual.map_or(y, |residual| y + residual)
}

/// `y *= factor`.
#[inline(always)]
fn multiply(y: &mut [f32], factor: f32) {
    for y in y {
        *y *= factor;
    }
}

/// `y[n] += term[n]`.
#[inline(always)]
fn add(y: &mut [f32], term: &[f32]) {
    assert_eq!(y.len(), term.len(), "one term for each column");
    for (y, &term) in y.iter_mut().zip(term) {
        *y += term;
    }
}
