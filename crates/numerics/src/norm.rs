//! Normalisation of a row: LayerNorm and RMSNorm.

use crate::elementary::rsqrt;
use crate::reduce::{mean_row, sum_squares};
use crate::wide::wide;

wide! {
    /// LayerNorm of `x` into `y`.
    ///
    /// `mean = sum(x) / n`, `d = x - mean`, `var = sum(d * d) / n`, `r = 1 / sqrt(var + eps)`,
    /// `y = ((d * r) * gamma) + beta`, where a missing `gamma` or `beta` skips its step.
    pub fn layer_norm_row(
        x: &[f32],
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        eps: f32,
        y: &mut [f32],
    ) {
        assert_eq!(x.len(), y.len(), "one result for each element");
        let mean = mean_row(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x - mean;
        }
        let r = rsqrt(sum_squares(y) / y.len() as f32 + eps);
        scale(y, r);
        if let Some(gamma) = gamma {
            multiply_each(y, gamma);
        }
        if let Some(beta) = beta {
            assert_eq!(y.len(), beta.len(), "one shift for each element");
            for (y, &b) in y.iter_mut().zip(beta) {
                *y += b;
            }
        }
    }
}

wide! {
    /// RMSNorm of `x` into `y`.
    ///
    /// `r = 1 / sqrt(sum(x * x) / n + eps)`, `y = (x * r) * gamma`; a missing `gamma` skips its step.
    pub fn rms_norm_row(x: &[f32], gamma: Option<&[f32]>, eps: f32, y: &mut [f32]) {
        assert_eq!(x.len(), y.len(), "one result for each element");
        let r = rsqrt(sum_squares(x) / x.len() as f32 + eps);
        y.copy_from_slice(x);
        scale(y, r);
        if let Some(gamma) = gamma {
            multiply_each(y, gamma);
        }
    }
}

/// `y *= r`.
#[inline(always)]
fn scale(y: &mut [f32], r: f32) {
    for y in y {
        *y *= r;
    }
}

/// `y[j] *= factor[j]`.
#[inline(always)]
fn multiply_each(y: &mut [f32], factor: &[f32]) {
    assert_eq!(y.len(), factor.len(), "one factor for each element");
    for (y, &g) in y.iter_mut().zip(factor) {
        *y *= g;
    }
}
