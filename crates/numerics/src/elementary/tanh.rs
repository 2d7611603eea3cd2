//! Hyperbolic tangent and the logistic function.

use super::{coefficients, exp, horner};

/// Where the two formulas meet: 5/8.
const SPLIT: f32 = 0.625;
/// (tanh(a) - a) / a³ in a², for a ≤ 5/8.
const NEAR: [f32; 5] = coefficients([
    0xbeaa_aa99,
    0x3e08_837b,
    0xbd5c_1ad2,
    0x3ca8_fc67,
    0xbbba_8671,
]);

/// tanh x, within 1.34 ulp.
///
/// With a = |x| and t = a²: `a + (a t) P(t)` below 5/8, `1 - 2 / (exp(a + a) + 1)` from there on;
/// the sign of x. NaN gives NaN.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let t = a * a;
    let near = a + (a * t) * horner(t, NEAR);
    let far = 1.0 - 2.0 / (exp(a + a) + 1.0);
    if a < SPLIT { near } else { far }.copysign(x)
}

/// `1 / (1 + exp(-x))`, within 2.5 ulp for x ≥ -87; 0 below -88.72283, NaN gives NaN.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}
