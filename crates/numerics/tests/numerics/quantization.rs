//! int8 and its scales.

use packwright_numerics::quant::{
    LARGEST_AMAX, SMALLEST_AMAX, Scale, dequantize, dequantize_dynamic_row, quantize,
    quantize_columns, quantize_dynamic_row, quantize_rows,
};
use packwright_numerics::reduce::amax;
use proptest::prelude::*;

fn any_row() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..64)
}

fn amax_i8(q: &[i8]) -> u8 {
    q.iter().map(|q| q.unsigned_abs()).max().unwrap_or(0)
}

#[test]
fn ties_go_to_the_even_value() {
    let q = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 0.499_999_97].map(|x| quantize(x, 1.0));
    assert_eq!(q, [0, 2, 2, 0, -2, -2, 126, 0]);
}

#[test]
fn out_of_range_saturates_and_nan_is_zero() {
    let q = [
        127.4,
        127.6,
        1e30,
        f32::INFINITY,
        -128.0,
        f32::MIN,
        f32::NAN,
    ]
    .map(|x| quantize(x, 1.0));
    assert_eq!(q, [127, 127, 127, 127, -127, -127, 0]);
    assert_eq!(quantize(f32::INFINITY, 0.0), 0);
}

#[test]
fn scales_stay_normal_at_both_ends() {
    for a in [
        SMALLEST_AMAX,
        1e-30,
        1.0,
        LARGEST_AMAX,
        f32::MAX,
        f32::INFINITY,
    ] {
        let scale = Scale::from_amax(a);
        assert!(
            scale.step.is_normal() && scale.inverse.is_normal(),
            "{a:e}: {scale:?}"
        );
        assert!(dequantize(127, scale.step).is_finite());
        assert_eq!(quantize(a, scale.inverse), 127);
    }
    let below = f32::from_bits(SMALLEST_AMAX.to_bits() - 1);
    for a in [0.0, 1e-45, below, f32::NAN] {
        let scale = Scale::from_amax(a);
        assert_eq!((scale.step, scale.inverse), (0.0, 0.0));
    }
}

#[test]
fn a_zero_group_has_scale_zero() {
    let row = [0.0, -0.0, 1e-40, 0.0, 2.0, -4.0, 1.0, f32::NAN];
    let (mut q, mut steps) = ([1i8; 8], [9.0; 2]);
    quantize_dynamic_row(&row, 4, &mut q, &mut steps);
    assert_eq!(q, [0, 0, 0, 0, 64, -127, 32, 0]);
    assert_eq!(steps, [0.0, 4.0 / 127.0]);
}

#[test]
fn empty_rows_are_fine() {
    quantize_dynamic_row(&[], 0, &mut [], &mut [0.0]);
    quantize_columns(&[], 0, &mut [], &mut []);
    quantize_rows(&[], 0, &mut [], &mut []);
    let mut steps = [9.0];
    quantize_columns(&[], 1, &mut [], &mut steps);
    assert_eq!(steps, [0.0]);
}

#[test]
fn columns_and_rows_of_a_transpose_agree() {
    let (k, n) = (5, 150);
    let weights: Vec<f32> = (0..k * n)
        .map(|i| ((i * 7_919 % 1_009) as f32 - 504.0) * (1.0 + (i % n) as f32))
        .collect();
    let transposed: Vec<f32> = (0..k * n).map(|i| weights[i % k * n + i / k]).collect();
    let (mut q, mut steps) = (vec![0; k * n], vec![0.0; n]);
    quantize_columns(&weights, n, &mut q, &mut steps);
    let (mut qt, mut steps_t) = (vec![0; k * n], vec![0.0; n]);
    quantize_rows(&transposed, n, &mut qt, &mut steps_t);
    assert_eq!(steps, steps_t);
    assert!((0..k * n).all(|i| qt[i] == q[i % k * n + i / k]));
}

proptest! {
    #[test]
    fn rounding_costs_half_a_step(row in prop::collection::vec(-1e3f32..1e3, 24), group in prop::sample::select(vec![1usize, 4, 8, 24])) {
        let (mut q, mut steps) = (vec![0; 24], vec![0.0; 24 / group]);
        quantize_dynamic_row(&row, group, &mut q, &mut steps);
        let mut back = vec![0.0; 24];
        dequantize_dynamic_row(&q, group, &steps, &mut back);
        for j in 0..24 {
            let step = steps[j / group];
            prop_assert!((row[j] - back[j]).abs() <= step * 0.500_05);
        }
        let uses_its_range = |(x, q): (&[f32], &[i8])| amax(x) == 0.0 || amax_i8(q) == 127;
        let all = row.chunks(group).zip(q.chunks(group)).all(uses_its_range);
        prop_assert!(all, "a largest element that is not 127");
    }

    #[test]
    fn any_bits_give_finite_results(row in any_row()) {
        let mut q = vec![0; row.len()];
        let mut steps = [0.0];
        quantize_dynamic_row(&row, row.len(), &mut q, &mut steps);
        prop_assert!(steps[0].is_finite() && steps[0] >= 0.0);
        prop_assert!(q.iter().all(|&q| q != -128 && dequantize(q, steps[0]).is_finite()));
    }

    #[test]
    fn clamping_first_is_clamping_last(x in -300.0f32..300.0) {
        let last = x.round_ties_even().clamp(-127.0, 127.0);
        prop_assert_eq!(f32::from(quantize(x, 1.0)), last);
    }
}
