//! The bits of a few results of each function: a changed bit is a changed machine.

use std::fmt::Write;

use insta::assert_snapshot;
use packwright_numerics::activation::Activation;
use packwright_numerics::elementary::{cos, erf, exp, ln, pow, rsqrt, sigmoid, sin, tanh};
use packwright_numerics::norm::{layer_norm_row, rms_norm_row};
use packwright_numerics::reduce::{logsumexp_row, sum_lanes, sum_squares};
use packwright_numerics::softmax::softmax_scale_quantize_row;

/// One line per input: the result's bits, then the input.
fn table(inputs: &[f32], f: impl Fn(f32) -> f32) -> String {
    inputs.iter().fold(String::new(), |mut text, &x| {
        let _ = writeln!(text, "{:08x} = f({x:?})", f(x).to_bits());
        text
    })
}

/// The bits of a row, separated by blanks.
fn bits(row: &[f32]) -> String {
    let words: Vec<String> = row.iter().map(|x| format!("{:08x}", x.to_bits())).collect();
    words.join(" ")
}

/// 37 numbers of both signs and mixed magnitudes.
fn sample_row() -> Vec<f32> {
    (0..37u32)
        .map(|i| ((i * 7_919 % 1_009) as f32 - 504.0) / 97.0)
        .collect()
}

#[test]
fn exp_bits() {
    assert_snapshot!(table(&[-87.0, -10.3, -1.0, -0.1, 0.3, 1.0, 20.7, 88.7], exp), @"
    00b33687 = f(-87.0)
    380d1141 = f(-10.3)
    3ebc5ab2 = f(-1.0)
    3f67a36d = f(-0.1)
    3facc82c = f(0.3)
    402df854 = f(1.0)
    4e68ef8f = f(20.7)
    7f7a37fc = f(88.7)
    ");
}

#[test]
fn ln_bits() {
    assert_snapshot!(table(&[1e-42, 1e-5, 0.3, 0.75, 1.1, 2.0, 10.0, 3e38], ln), @"
    c2c16a85 = f(1e-42)
    c13834f1 = f(1e-5)
    bf9a1bc8 = f(0.3)
    be934b10 = f(0.75)
    3dc331ff = f(1.1)
    3f317218 = f(2.0)
    40135d8e = f(10.0)
    42b13196 = f(3e38)
    ");
}

#[test]
fn erf_bits() {
    assert_snapshot!(table(&[-3.3, -1.0, -0.3, 1e-3, 0.5, 0.95, 2.0, 3.9], erf), @"
    bf7fffcd = f(-3.3)
    bf57bb3d = f(-1.0)
    bea841c5 = f(-0.3)
    3a93e61c = f(0.001)
    3f053f7b = f(0.5)
    3f5225e6 = f(0.95)
    3f7ecd71 = f(2.0)
    3f7fffff = f(3.9)
    ");
}

#[test]
fn tanh_bits() {
    assert_snapshot!(table(&[-9.5, -1.0, -0.3, 1e-3, 0.6, 0.7, 2.0, 8.0], tanh), @"
    bf800000 = f(-9.5)
    bf42f7d6 = f(-1.0)
    be9526ee = f(-0.3)
    3a83126c = f(0.001)
    3f097c15 = f(0.6)
    3f1ab7d9 = f(0.7)
    3f76ca83 = f(2.0)
    3f7ffffc = f(8.0)
    ");
}

#[test]
fn sigmoid_bits() {
    assert_snapshot!(table(&[-50.0, -5.0, -1.0, 0.1, 1.0, 3.3, 12.0], sigmoid), @"
    1b692beb = f(-50.0)
    3bdb4fb4 = f(-5.0)
    3e89b2b1 = f(-1.0)
    3f066509 = f(0.1)
    3f3b26a8 = f(1.0)
    3f76e4cf = f(3.3)
    3f7fff98 = f(12.0)
    ");
}

#[test]
fn sin_bits() {
    assert_snapshot!(table(&[-7.5, -1.0, 0.1, 0.8, 3.0, 100.5, 4096.0, 131071.5], sin), @"
    bf7020c4 = f(-7.5)
    bf576aa5 = f(-1.0)
    3dcc7577 = f(0.1)
    3f37a4a6 = f(0.8)
    3e1081c3 = f(3.0)
    bcfd9fc2 = f(100.5)
    bf183a75 = f(4096.0)
    bf65a0c2 = f(131071.5)
    ");
}

#[test]
fn cos_bits() {
    assert_snapshot!(table(&[-7.5, -1.0, 0.1, 0.8, 3.0, 100.5, 4096.0, 131071.5], cos), @"
    3eb17a30 = f(-7.5)
    3f0a5140 = f(-1.0)
    3f7eb898 = f(0.1)
    3f325b5f = f(0.8)
    bf7d7026 = f(3.0)
    3f7fe096 = f(100.5)
    3f4dd255 = f(4096.0)
    bee25604 = f(131071.5)
    ");
}

#[test]
fn rsqrt_and_pow_bits() {
    assert_snapshot!(table(&[1e-12, 0.3, 2.0, 3.0, 768.0, 1e30], rsqrt), @"
    49742400 = f(1e-12)
    3fe9b1e8 = f(0.3)
    3f3504f3 = f(2.0)
    3f13cd3a = f(3.0)
    3d13cd3a = f(768.0)
    26901d7d = f(1e30)
    ");
    assert_snapshot!(table(&[-2.2, -0.7, 0.4, 1.5, 2.5, 9.0], |y| pow(1.7, y)), @"
    3e9f530c = f(-2.2)
    3f3092d6 = f(-0.7)
    3f9e4446 = f(0.4)
    400ddb9c = f(1.5)
    40712889 = f(2.5)
    42ed2cff = f(9.0)
    ");
}

#[test]
fn activation_bits() {
    let inputs = [-4.5, -1.3, -0.2, 0.4, 1.7, 6.0];
    let of = |activation: Activation| table(&inputs, |x| activation.apply(x));
    assert_snapshot!(of(Activation::Relu), @"
    00000000 = f(-4.5)
    00000000 = f(-1.3)
    00000000 = f(-0.2)
    3ecccccd = f(0.4)
    3fd9999a = f(1.7)
    40c00000 = f(6.0)
    ");
    assert_snapshot!(of(Activation::GeluErf), @"
    b7804000 = f(-4.5)
    be00dc5f = f(-1.3)
    bdac55d1 = f(-0.2)
    3e863afa = f(0.4)
    3fcfe70f = f(1.7)
    40c00000 = f(6.0)
    ");
    assert_snapshot!(of(Activation::GeluTanh), @"
    b6ab0000 = f(-4.5)
    be0118c3 = f(-1.3)
    bdac5616 = f(-0.2)
    3e8639fe = f(0.4)
    3fcfe2b4 = f(1.7)
    40c00000 = f(6.0)
    ");
    assert_snapshot!(of(Activation::Silu), @"
    bd4a82e6 = f(-4.5)
    be8e8c59 = f(-1.3)
    bdb86354 = f(-0.2)
    3e7538f3 = f(0.4)
    3fb7fd06 = f(1.7)
    40bf8678 = f(6.0)
    ");
}

#[test]
fn row_bits() {
    let x = sample_row();
    let sums = [sum_lanes(&x), sum_squares(&x), logsumexp_row(&x)];
    assert_snapshot!(bits(&sums), @"40b02a3c 43ab0dd2 40d1c41d");
    let mut y = vec![0.0; x.len()];
    layer_norm_row(&x, None, None, 1e-5, &mut y);
    assert_snapshot!(bits(&y[..6]), @"bfe140af 3f92ab47 3f206281 3ddb739f bed30b33 bf6e79a6");
    rms_norm_row(&x, None, 1e-6, &mut y);
    assert_snapshot!(bits(&y[..6]), @"bfdab842 3f98c1b4 3f2cb81c 3e1fb33d beb9bcfc bf61a9ca");
}

#[test]
fn probability_bits() {
    let mut scores = sample_row();
    let mut q = vec![0; scores.len()];
    let mut steps = [0.0];
    softmax_scale_quantize_row(&mut scores, None, q.len(), &mut q, &mut steps);
    assert_snapshot!(bits(&scores[..6]), @"3804be28 3e5c634f 3d3610a7 3c1667f7 3af88127 39cd4ae0");
    assert_snapshot!(bits(&steps), @"3b007fee");
    assert_snapshot!(format!("{:?}", &q[..12]), @"[0, 27, 6, 1, 0, 0, 0, 70, 14, 3, 1, 0]");
}
