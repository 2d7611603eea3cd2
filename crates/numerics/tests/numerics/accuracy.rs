//! Errors of the elementary functions, measured against f64 on dense sweeps of bit patterns.

use std::f64::consts::PI;

use packwright_numerics::activation::{gelu_erf, gelu_tanh, silu};
use packwright_numerics::elementary::{cos, erf, exp, ln, pow, rsqrt, sigmoid, sin, sin_cos, tanh};
use packwright_numerics::round::round_ties_even;

/// The distance between neighbouring f32 around `y`.
fn ulp(y: f64) -> f64 {
    let a = (y.abs() as f32).max(f32::MIN_POSITIVE);
    f64::from(f32::from_bits(a.to_bits() & 0x7f80_0000)) * 2f64.powi(-23)
}

/// erf by its series of positive terms, to about 1e-15.
fn erf_f64(x: f64) -> f64 {
    let a = x.abs();
    if a > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (a, a, 1.0);
    while term > 1e-18 * sum {
        term *= 2.0 * a * a / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    (2.0 / PI.sqrt() * (-a * a).exp() * sum).copysign(x)
}

/// Every 4,999th bit pattern in the range, both signs, and its ends.
fn sweep(low: f32, high: f32) -> impl Iterator<Item = f32> {
    let positive = (0..0x7f80_0000u32).step_by(4_999).map(f32::from_bits);
    positive
        .flat_map(|x| [x, -x])
        .filter(move |&x| x >= low && x <= high)
        .chain([low, high])
}

/// The largest error in ulps and the largest absolute error.
fn errors(
    low: f32,
    high: f32,
    f: impl Fn(f32) -> f32,
    reference: impl Fn(f64) -> f64,
) -> (f64, f64) {
    let mut worst = (0.0f64, 0.0f64);
    for x in sweep(low, high) {
        let y = reference(f64::from(x));
        let error = (f64::from(f(x)) - y).abs();
        assert!(!error.is_nan(), "no NaN at {x:e}");
        worst = (worst.0.max(error / ulp(y)), worst.1.max(error));
    }
    worst
}

fn assert_ulps(
    low: f32,
    high: f32,
    limit: f64,
    f: impl Fn(f32) -> f32,
    reference: impl Fn(f64) -> f64,
) {
    let (ulps, _) = errors(low, high, f, reference);
    assert!(ulps <= limit, "{ulps} ulp > {limit}");
}

fn assert_absolute(
    low: f32,
    high: f32,
    limit: f64,
    f: impl Fn(f32) -> f32,
    reference: impl Fn(f64) -> f64,
) {
    let (_, absolute) = errors(low, high, f, reference);
    assert!(absolute <= limit, "{absolute:e} > {limit:e}");
}

#[test]
fn exp_is_within_one_ulp() {
    assert_ulps(-87.336_54, 88.722_83, 1.0, exp, f64::exp);
}

#[test]
fn exp_outside_its_range() {
    assert_eq!(exp(f32::from_bits(0xc2ae_ac50)), 0.0);
    assert!(exp(f32::from_bits(0xc2ae_ac4f)) >= f32::MIN_POSITIVE);
    assert_eq!(exp(f32::MIN).to_bits(), 0);
    assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
    assert!(exp(f32::from_bits(0x42b1_7217)).is_finite());
    assert_eq!(exp(f32::from_bits(0x42b1_7218)), f32::INFINITY);
    assert_eq!(exp(f32::MAX), f32::INFINITY);
    assert_eq!(exp(f32::INFINITY), f32::INFINITY);
    assert!(exp(f32::NAN).is_nan());
    assert_eq!((exp(0.0), exp(-0.0)), (1.0, 1.0));
}

#[test]
fn ln_is_within_0_87_ulp() {
    assert_ulps(f32::from_bits(1), f32::MAX, 0.87, ln, f64::ln);
    assert_ulps(0.9, 1.1, 0.87, ln, f64::ln);
}

#[test]
fn ln_outside_its_range() {
    assert_eq!(ln(1.0).to_bits(), 0);
    assert_eq!((ln(0.0), ln(-0.0)), (f32::NEG_INFINITY, f32::NEG_INFINITY));
    assert_eq!(ln(f32::INFINITY), f32::INFINITY);
    assert!(ln(-1.0).is_nan() && ln(f32::NEG_INFINITY).is_nan() && ln(f32::NAN).is_nan());
}

#[test]
fn erf_is_within_1_43_ulp_and_8_5e_8() {
    assert_ulps(-5.0, 5.0, 1.43, erf, erf_f64);
    assert_absolute(-9.0, 9.0, 8.5e-8, erf, erf_f64);
    assert_eq!((erf(4.0), erf(-1e30), erf(f32::INFINITY)), (1.0, -1.0, 1.0));
    assert!(erf(f32::NAN).is_nan());
}

#[test]
fn tanh_is_within_1_34_ulp() {
    assert_ulps(f32::MIN, f32::MAX, 1.34, tanh, f64::tanh);
    assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
    assert!(tanh(f32::NAN).is_nan());
}

#[test]
fn sigmoid_is_within_2_5_ulp() {
    let reference = |x: f64| 1.0 / (1.0 + (-x).exp());
    assert_ulps(-87.0, f32::MAX, 2.5, sigmoid, reference);
    assert_eq!((sigmoid(-89.0), sigmoid(f32::INFINITY)), (0.0, 1.0));
    assert!(sigmoid(f32::NAN).is_nan());
}

#[test]
fn sin_and_cos_are_within_9_5e_8() {
    assert_absolute(-131_072.0, 131_072.0, 9.5e-8, sin, f64::sin);
    assert_absolute(-131_072.0, 131_072.0, 9.5e-8, cos, f64::cos);
    assert_ulps(-0.78, 0.78, 0.8, sin, f64::sin);
    // Near multiples of π/2 the reduction has to cancel all leading digits.
    for n in 0..80_000 {
        let x = (f64::from(n) * PI / 2.0) as f32;
        let (s, c) = sin_cos(x);
        let error = (f64::from(s) - f64::from(x).sin())
            .abs()
            .max((f64::from(c) - f64::from(x).cos()).abs());
        assert!(error < 9.5e-8, "{error:e} at {x}");
    }
    assert!(sin(131_073.0).is_nan() && cos(f32::INFINITY).is_nan() && sin(f32::NAN).is_nan());
}

#[test]
fn rsqrt_is_within_1_5_ulp() {
    assert_ulps(f32::MIN_POSITIVE, f32::MAX, 1.5, rsqrt, |x| 1.0 / x.sqrt());
    assert_eq!(rsqrt(0.0), f32::INFINITY);
}

#[test]
fn pow_of_positive_bases() {
    for y in [1.5f32, 2.2, -0.75, 10.0, 0.25, 5.0, -2.0] {
        for x in sweep(f32::MIN_POSITIVE, f32::MAX) {
            let power = f64::from(x).powf(f64::from(y));
            if (1.2e-38..3.4e38).contains(&power) {
                let error = ((f64::from(pow(x, y)) - power) / power).abs();
                assert!(error < 1e-5, "{error:e} at {x:e} to the {y}");
            }
        }
    }
}

#[test]
fn pow_of_special_arguments() {
    assert_eq!(pow(f32::NAN, 0.0), 1.0);
    assert_eq!(
        (pow(-3.0, 1.0), pow(-3.0, 2.0), pow(-3.0, 3.0)),
        (-3.0, 9.0, -27.0)
    );
    assert_eq!(
        (pow(9.0, 0.5), pow(4.0, -0.5), pow(-4.0, -1.0)),
        (3.0, 0.5, -0.25)
    );
    assert!((pow(-2.0, 5.0) + 32.0).abs() < 1e-4 && (pow(-2.0, 4.0) - 16.0).abs() < 1e-4);
    assert!(pow(-2.0, 1.5).is_nan() && pow(f32::NAN, 1.5).is_nan() && pow(2.0, f32::NAN).is_nan());
    assert_eq!((pow(0.0, 1.5), pow(0.0, -1.5)), (0.0, f32::INFINITY));
    assert_eq!(pow(-1.0, 1e9), 1.0);
}

#[test]
fn activations_against_f64() {
    let gelu = |x: f64| 0.5 * x * (1.0 + erf_f64(x * 0.5f64.sqrt()));
    assert_absolute(-10.0, 0.0, 8.4e-8, gelu_erf, gelu);
    assert_ulps(0.0, 10.0, 1.8, gelu_erf, gelu);
    let gelu = |x: f64| {
        let inner = (2.0 / PI).sqrt() * (x + 0.044_715 * x * x * x);
        0.5 * x * (1.0 + inner.tanh())
    };
    assert_absolute(-10.0, 0.0, 7.7e-8, gelu_tanh, gelu);
    assert_ulps(0.0, 10.0, 1.83, gelu_tanh, gelu);
    let reference = |x: f64| x / (1.0 + (-x).exp());
    assert_ulps(-86.0, 1e30, 2.9, silu, reference);
}

#[test]
fn round_ties_even_equals_the_definition() {
    let halves = (-40..40).map(|n| n as f32 / 2.0);
    for x in sweep(f32::MIN, f32::MAX)
        .chain(halves)
        .chain([8_388_607.5, 8_388_608.5, 1e-40])
    {
        assert_eq!(
            round_ties_even(x).to_bits(),
            x.round_ties_even().to_bits(),
            "{x:e}"
        );
    }
    assert!(round_ties_even(f32::NAN).is_nan());
    assert_eq!(round_ties_even(f32::INFINITY), f32::INFINITY);
}
