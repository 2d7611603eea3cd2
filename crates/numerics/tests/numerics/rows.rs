//! Properties and edge cases of the functions of rows.

use packwright_numerics::norm::{layer_norm_row, rms_norm_row};
use packwright_numerics::reduce::{amax, argmax_row, logsumexp_row, max_row, min_row};
use packwright_numerics::rotary::{rotate_half_row, rotate_interleaved_row};
use packwright_numerics::softmax::{softmax_row, softmax_scale_quantize_row};
use proptest::prelude::*;

const INF: f32 = f32::INFINITY;

#[test]
fn extremes_order_zeros_and_keep_nan() {
    assert_eq!(max_row(&[-0.0, 0.0, -0.0]).to_bits(), 0);
    assert_eq!(min_row(&[0.0, -0.0, 0.0]).to_bits(), 0x8000_0000);
    assert_eq!((max_row(&[]), min_row(&[])), (-INF, INF));
    assert_eq!((max_row(&[-INF]), min_row(&[INF])), (-INF, INF));
    for nan in [f32::NAN, -f32::NAN] {
        assert_eq!(max_row(&[INF, nan, 1.0]).to_bits(), 0x7fc0_0000);
        assert_eq!(min_row(&[-INF, nan, 1.0]).to_bits(), 0x7fc0_0000);
        assert_eq!(argmax_row(&[INF, nan, 1.0]), Some(1));
        assert_eq!(amax(&[-3.0, nan]), 3.0);
    }
    assert_eq!(argmax_row(&[1.0, 5.0, 5.0]), Some(1));
    assert_eq!((argmax_row(&[]), amax(&[])), (None, 0.0));
    assert_eq!(amax(&[1.0, -INF]), INF);
}

#[test]
fn softmax_of_masked_rows_is_finite() {
    let softmax = |mut row: Vec<f32>| {
        softmax_row(&mut row);
        row
    };
    assert_eq!(softmax(vec![-INF; 3]), [0.0; 3]);
    assert_eq!(softmax(vec![f32::MIN; 4]), [0.25; 4]);
    assert_eq!(
        softmax(vec![1.0, -INF, f32::MIN, -90.0]),
        [1.0, 0.0, 0.0, 0.0]
    );
    assert!(softmax(vec![1.0, f32::NAN]).iter().all(|p| p.is_nan()));
    assert!(softmax(vec![1.0, INF])[1].is_nan());
    assert!(softmax(vec![]).is_empty());
}

#[test]
fn logsumexp_of_infinite_rows() {
    assert_eq!(logsumexp_row(&[-INF, -INF]), -INF);
    assert_eq!(logsumexp_row(&[1.0, INF]), INF);
    assert_eq!(logsumexp_row(&[3.0]), 3.0);
    assert_eq!(logsumexp_row(&[]), -INF);
}

#[test]
fn probabilities_are_scaled_then_quantized() {
    let mut scores = [0.0, 0.0, -INF, -INF];
    let (mut q, mut steps) = ([9i8; 4], [9.0; 2]);
    let values = [2.0, 4.0, 1.0, 1.0];
    softmax_scale_quantize_row(&mut scores, Some(&values), 2, &mut q, &mut steps);
    assert_eq!(scores, [2.0, 4.0, 0.0, 0.0]);
    assert_eq!(q, [64, 127, 0, 0]);
    assert_eq!(steps, [4.0 / 127.0 * 0.5, 0.0]);
}

#[test]
fn norms_of_constant_rows() {
    let mut y = [9.0; 5];
    layer_norm_row(&[3.0; 5], None, Some(&[0.5; 5]), 1e-5, &mut y);
    assert_eq!(y, [0.5; 5]);
    rms_norm_row(&[0.0; 5], Some(&[2.0; 5]), 1e-5, &mut y);
    assert_eq!(y, [0.0; 5]);
    rms_norm_row(&[-2.0; 5], None, 0.0, &mut y);
    assert_eq!(y, [-1.0; 5]);
}

#[test]
fn rotations_pair_their_own_elements() {
    let (cos, sin) = ([0.0, 1.0], [1.0, 0.0]);
    let mut head = [1.0, 2.0, 3.0, 4.0, 5.0];
    rotate_half_row(&mut head, &cos, &sin);
    assert_eq!(head, [-3.0, 2.0, 1.0, 4.0, 5.0]);
    let mut head = [1.0, 2.0, 3.0, 4.0, 5.0];
    rotate_interleaved_row(&mut head, &cos, &sin);
    assert_eq!(head, [-2.0, 1.0, 3.0, 4.0, 5.0]);
}

proptest! {
    #[test]
    fn softmax_sums_to_one(row in prop::collection::vec(-60.0f32..60.0, 1..300)) {
        let mut p = row.clone();
        softmax_row(&mut p);
        let sum: f64 = p.iter().map(|&p| f64::from(p)).sum();
        prop_assert!((sum - 1.0).abs() < 4e-6, "{}", sum);
        prop_assert!(p.iter().all(|p| (0.0..=1.000_001).contains(p)));
    }

    #[test]
    fn masked_columns_at_the_end_change_nothing(row in prop::collection::vec(-60.0f32..60.0, 1..100), masked in 1usize..40) {
        let (mut short, mut long) = (row.clone(), row);
        long.extend(std::iter::repeat_n(f32::MIN, masked));
        softmax_row(&mut short);
        softmax_row(&mut long);
        prop_assert_eq!(&short[..], &long[..short.len()]);
        prop_assert!(long[short.len()..].iter().all(|p| p.to_bits() == 0));
    }

    #[test]
    fn extremes_agree_with_sorting(bits in prop::collection::vec(any::<u32>(), 1..80)) {
        let mut row: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|x| !x.is_nan()).collect();
        prop_assume!(!row.is_empty());
        let (low, high, largest) = (min_row(&row), max_row(&row), amax(&row));
        row.sort_by(f32::total_cmp);
        prop_assert_eq!(low.to_bits(), row[0].to_bits());
        prop_assert_eq!(high.to_bits(), row[row.len() - 1].to_bits());
        prop_assert_eq!(largest, low.abs().max(high.abs()));
    }

    #[test]
    fn layer_norm_centres_and_scales(row in prop::collection::vec(-9.0f32..9.0, 2..200)) {
        let mut y = vec![0.0; row.len()];
        layer_norm_row(&row, None, None, 0.1, &mut y);
        let n = row.len() as f64;
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let var = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        for (y, x) in y.iter().zip(&row) {
            let exact = (f64::from(*x) - mean) / (var + 0.1).sqrt();
            prop_assert!((f64::from(*y) - exact).abs() < 1e-5);
        }
    }
}
