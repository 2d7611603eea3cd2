//! The error function.

use super::{coefficients, exp, horner};

/// Where the two formulas meet: 59/64.
const SPLIT: f32 = f32::from_bits(0x3f6c_0000);
/// From here on the result is 1.
const ONE_FROM: f32 = 4.0;
/// erf(a)/a - 1 in a², for a ≤ 59/64.
const NEAR: [f32; 6] = coefficients([
    0x3e03_75d3,
    0xbec0_9374,
    0x3de7_0d5a,
    0xbcdb_4733,
    0x3ba3_a507,
    0xba1d_2471,
]);
/// ln(1 - erf(a)) in a, for 59/64 ≤ a ≤ 4.
const FAR: [f32; 7] = coefficients([
    0xb95c_2236,
    0xbf90_55b3,
    0xbf23_252d,
    0xbdd4_a960,
    0x3cb5_b592,
    0xbb46_ad98,
    0x394c_31ba,
]);

/// erf x = 2/√π ∫₀ˣ e^(-t²) dt, within 1.43 ulp; absolute error below 8.5·10⁻⁸.
///
/// With a = |x|: `a + a P(a²)` below 59/64, `1 - exp(Q(min(a, 4)))` from there on; the sign of x.
/// From 4 on the result is ±1; NaN gives NaN.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = x.abs();
    let near = a + a * horner(a * a, NEAR);
    let b = if a > ONE_FROM { ONE_FROM } else { a };
    let far = 1.0 - exp(horner(b, FAR));
    if a < SPLIT { near } else { far }.copysign(x)
}
