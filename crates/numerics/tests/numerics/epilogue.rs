//! Integer products and what happens to them on their way out.

use packwright_numerics::activation::Activation;
use packwright_numerics::matmul::{
    ColumnScale, Epilogue, MAX_INNER, add_group_row, add_outer_row, combine_groups, dot_i8,
    finish_element, start_groups_row,
};
use proptest::prelude::*;

const ACTIVATIONS: [Activation; 7] = [
    Activation::None,
    Activation::Relu,
    Activation::GeluErf,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Tanh,
    Activation::Sigmoid,
];

fn int8(len: usize) -> impl Strategy<Value = Vec<i8>> {
    prop::collection::vec(-127i8..=127, len)
}

#[test]
fn the_longest_product_does_not_overflow() {
    let a = vec![127i8; MAX_INNER];
    assert_eq!(i64::from(dot_i8(&a, &a)), 127 * 127 * MAX_INNER as i64);
    let b = vec![-127i8; MAX_INNER];
    assert_eq!(i64::from(dot_i8(&a, &b)), -127 * 127 * MAX_INNER as i64);
}

#[test]
fn sums_are_rounded_before_they_are_scaled() {
    // 2²⁴ + 1 is no f32; it rounds to even before the product.
    assert_eq!(combine_groups(&[16_777_217], &[3.0]), 16_777_216.0 * 3.0);
    assert_eq!(combine_groups(&[0], &[-1.0]).to_bits(), 0x8000_0000);
    assert_eq!(combine_groups(&[], &[]).to_bits(), 0);
}

#[test]
fn groups_are_added_from_the_first_on() {
    let steps = [1.0, 1e-8, 1e-8];
    assert_eq!(combine_groups(&[1, 5, 5], &steps), 1.0);
    assert_eq!(
        combine_groups(&[5, 5, 100_000_000], &[1e-8, 1e-8, 1e-8]),
        1.0 + 1.192_092_9e-7
    );
}

#[test]
fn the_steps_of_the_epilogue_in_order() {
    let y = finish_element(-8.0, 0.5, 0.25, Some(0.5), Activation::Relu, Some(-3.0));
    assert_eq!(y, -3.0);
    let y = finish_element(8.0, 0.5, 0.25, Some(0.5), Activation::Relu, Some(-3.0));
    assert_eq!(y, -1.5);
}

#[test]
fn identity_changes_nothing() {
    let mut y = [1.5, -0.0, f32::INFINITY];
    Epilogue::IDENTITY.finish_row(&mut y, None);
    assert_eq!(
        y.map(f32::to_bits),
        [1.5, -0.0, f32::INFINITY].map(f32::to_bits)
    );
}

proptest! {
    #[test]
    fn both_forms_of_the_product_agree(a in int8(19), b in int8(19 * 7)) {
        let mut acc = [0i32; 7];
        for (k, &a) in a.iter().enumerate() {
            add_outer_row(a, &b[k * 7..][..7], &mut acc);
        }
        for n in 0..7 {
            let column: Vec<i8> = (0..19).map(|k| b[k * 7 + n]).collect();
            let exact: i32 = (0..19).map(|k| i32::from(a[k]) * i32::from(column[k])).sum();
            prop_assert_eq!(dot_i8(&a, &column), exact);
            prop_assert_eq!(acc[n], exact);
        }
    }

    #[test]
    fn rows_equal_elements(
        acc in prop::collection::vec(-2_000_000i32..2_000_000, 3 * 21),
        steps in prop::collection::vec(1e-5f32..1e-2, 3),
        columns in prop::collection::vec((1e-4f32..1e-2, -3.0f32..3.0, -3.0f32..3.0), 21),
        alpha in 0.1f32..1.0,
        activation in prop::sample::select(ACTIVATIONS.to_vec()),
    ) {
        let mut y = vec![0.0; 21];
        start_groups_row(&acc[..21], steps[0], &mut y);
        add_group_row(&acc[21..42], steps[1], &mut y);
        add_group_row(&acc[42..], steps[2], &mut y);
        let scale: Vec<f32> = columns.iter().map(|c| c.0).collect();
        let bias: Vec<f32> = columns.iter().map(|c| c.1).collect();
        let residual: Vec<f32> = columns.iter().map(|c| c.2).collect();
        let epilogue = Epilogue { scale: ColumnScale::Each(&scale), alpha, bias: Some(&bias), activation };
        epilogue.finish_row(&mut y, Some(&residual));
        for n in 0..21 {
            let sum = combine_groups(&[acc[n], acc[21 + n], acc[42 + n]], &steps);
            let expected = finish_element(sum, scale[n], alpha, Some(bias[n]), activation, Some(residual[n]));
            prop_assert_eq!(y[n].to_bits(), expected.to_bits());
        }
    }
}
