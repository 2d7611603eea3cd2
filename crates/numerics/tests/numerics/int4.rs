//! Weights of four bits.

use half::f16;
use packwright_numerics::int4::{dequantize, pack, quantize, quantize_row, step_of, unpack};
use proptest::prelude::*;

#[test]
fn the_largest_element_becomes_the_lowest_value() {
    for row in [[0.5f32, -0.125, 0.0625, 0.0], [-0.5, 0.125, -0.0625, 0.0]] {
        let (mut q, mut steps) = ([0i8; 4], [f16::ZERO]);
        quantize_row(&row, 4, &mut q, &mut steps);
        assert_eq!(q, [-8, 2, -1, 0]);
        assert_eq!(q.map(|q| dequantize(q, steps[0])), row);
    }
}

#[test]
fn what_is_no_number_is_zero_and_what_is_too_large_saturates() {
    assert_eq!(step_of(&[0.0, -0.0, f32::NAN]).to_bits(), 0);
    assert_eq!(step_of(&[1e30]), -f16::MAX);
    assert_eq!(step_of(&[-1e-30]).to_bits(), 0);
    let step = step_of(&[8.0, -8.0]);
    assert_eq!(step, f16::NEG_ONE);
    let q = [8.0, -8.0, 7.5, f32::NAN, f32::INFINITY].map(|x| quantize(x, step));
    assert_eq!(q, [-8, 7, -8, 0, -8]);
    assert_eq!(quantize(3.0, f16::ZERO), 0);
}

proptest! {
    #[test]
    fn packed_values_come_back(q in prop::collection::vec(-8i8..=7, 0..40)) {
        let mut bytes = vec![0; q.len().div_ceil(2)];
        pack(&q, &mut bytes);
        let mut back = vec![0; q.len()];
        unpack(&bytes, &mut back);
        prop_assert_eq!(back, q);
    }

    /// Half a step, or one where the other side of the block saturates, and what f16 takes from the step.
    #[test]
    fn no_element_is_off_by_more_than_a_step(row in prop::collection::vec(-1.0f32..1.0, 32)) {
        let (mut q, mut steps) = (vec![0i8; 32], [f16::ZERO; 2]);
        quantize_row(&row, 16, &mut q, &mut steps);
        for (i, (&x, &q)) in row.iter().zip(&q).enumerate() {
            let step = steps[i / 16];
            let error = (x - dequantize(q, step)).abs();
            prop_assert!(error <= 1.005 * step.to_f32().abs(), "{x} {q} {step}");
        }
    }
}
