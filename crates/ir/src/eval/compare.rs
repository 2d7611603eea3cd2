//! How far tensors are apart.

use super::quantize::dequantize_all;
use crate::tensor::Tensor;

/// The cosine of the angle between two tensors as vectors; 1 where both are zero.
pub fn cosine(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (reals(a), reals(b));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = (dot(&a, &a) * dot(&b, &b)).sqrt();
    if lengths == 0.0 {
        return if a == b { 1.0 } else { 0.0 };
    }
    dot(&a, &b) / lengths
}

/// The largest difference of two elements; NaN where exactly one of them is NaN.
pub fn max_abs(a: &Tensor, b: &Tensor) -> f64 {
    largest(
        reals(a)
            .iter()
            .zip(&reals(b))
            .map(|(&a, &b)| difference(a, b)),
    )
}

/// The largest difference over the largest magnitude of either tensor; 0 where both are zero.
pub fn max_rel(a: &Tensor, b: &Tensor) -> f64 {
    let magnitude =
        |t: &Tensor| largest(reals(t).into_iter().map(f64::abs).filter(|x| x.is_finite()));
    let scale = magnitude(a).max(magnitude(b));
    let apart = max_abs(a, b);
    if apart == 0.0 { 0.0 } else { apart / scale }
}

fn difference(a: f64, b: f64) -> f64 {
    if a == b || (a.is_nan() && b.is_nan()) {
        0.0
    } else {
        (a - b).abs()
    }
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |most, x| if x.is_nan() || x > most { x } else { most })
}

fn reals(t: &Tensor) -> Vec<f64> {
    match &t.data {
        crate::tensor::Data::I64(a) => a.iter().map(|&x| x as f64).collect(),
        crate::tensor::Data::F64(a) => a.iter().copied().collect(),
        _ => dequantize_all(t).into_iter().map(f64::from).collect(),
    }
}
