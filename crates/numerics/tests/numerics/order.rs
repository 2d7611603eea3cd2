//! Orders of operation, against second implementations that follow the page word by word.

use packwright_numerics::elementary::{exp, ln};
use packwright_numerics::norm::{layer_norm_row, rms_norm_row};
use packwright_numerics::reduce::{logsumexp_row, mean_row, sum_lanes, sum_squares};
use packwright_numerics::softmax::softmax_row;
use proptest::prelude::*;

/// The stated order of a sum, written with indices.
fn naive_sum(x: &[f32]) -> f32 {
    let lane = |j: usize| (j..x.len()).step_by(16).fold(0.0f32, |sum, i| sum + x[i]);
    let eight = |j: usize| lane(j) + lane(j + 8);
    let four = |j: usize| eight(j) + eight(j + 4);
    let two = |j: usize| four(j) + four(j + 2);
    two(0) + two(1)
}

fn row() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-100.0f32..100.0, 1..200)
}

#[test]
fn a_sum_tells_its_order() {
    // Plain left-to-right summation loses the ones; lanes keep them.
    let mut x = [1.0f32; 40];
    x[0] = 16_777_216.0;
    assert_eq!(sum_lanes(&x), 16_777_256.0 - 2.0);
    assert_eq!(sum_lanes(&x), naive_sum(&x));
    assert_eq!(x.iter().sum::<f32>(), 16_777_216.0);
    assert_eq!(sum_lanes(&[]).to_bits(), 0);
    assert_eq!(sum_lanes(&[-0.0]).to_bits(), 0);
}

proptest! {
    #[test]
    fn sums_follow_the_lanes(x in row()) {
        prop_assert_eq!(sum_lanes(&x).to_bits(), naive_sum(&x).to_bits());
        let squares: Vec<f32> = x.iter().map(|x| x * x).collect();
        prop_assert_eq!(sum_squares(&x).to_bits(), naive_sum(&squares).to_bits());
        let mean = naive_sum(&x) / x.len() as f32;
        prop_assert_eq!(mean_row(&x).to_bits(), mean.to_bits());
    }

    #[test]
    fn zeros_at_the_end_change_no_sum(x in row(), zeros in 0usize..40) {
        let mut padded = x.clone();
        padded.extend(std::iter::repeat_n(0.0, zeros));
        prop_assert_eq!(sum_lanes(&x).to_bits(), sum_lanes(&padded).to_bits());
    }

    #[test]
    fn layer_norm_follows_the_page(x in row()) {
        let n = x.len() as f32;
        let gamma: Vec<f32> = x.iter().map(|x| 1.0 + x / 300.0).collect();
        let beta: Vec<f32> = x.iter().rev().map(|x| x / 7.0).collect();
        let mut y = vec![0.0; x.len()];
        layer_norm_row(&x, Some(&gamma), Some(&beta), 1e-5, &mut y);
        let mean = naive_sum(&x) / n;
        let squares: Vec<f32> = x.iter().map(|x| (x - mean) * (x - mean)).collect();
        let r = 1.0 / (naive_sum(&squares) / n + 1e-5).sqrt();
        for j in 0..x.len() {
            let expected = ((x[j] - mean) * r) * gamma[j] + beta[j];
            prop_assert_eq!(y[j].to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn rms_norm_follows_the_page(x in row()) {
        let gamma: Vec<f32> = x.iter().map(|x| 1.0 + x / 300.0).collect();
        let mut y = vec![0.0; x.len()];
        rms_norm_row(&x, Some(&gamma), 1e-6, &mut y);
        let squares: Vec<f32> = x.iter().map(|x| x * x).collect();
        let r = 1.0 / (naive_sum(&squares) / x.len() as f32 + 1e-6).sqrt();
        for j in 0..x.len() {
            prop_assert_eq!(y[j].to_bits(), ((x[j] * r) * gamma[j]).to_bits());
        }
    }

    #[test]
    fn softmax_follows_the_page(x in row()) {
        let mut p = x.clone();
        softmax_row(&mut p);
        let m = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let e: Vec<f32> = x.iter().map(|x| exp(x - m)).collect();
        let sum = naive_sum(&e);
        let inverse = 1.0 / sum;
        for j in 0..x.len() {
            prop_assert_eq!(p[j].to_bits(), (e[j] * inverse).to_bits());
        }
        prop_assert_eq!(logsumexp_row(&x).to_bits(), (m + ln(sum)).to_bits());
    }
}
