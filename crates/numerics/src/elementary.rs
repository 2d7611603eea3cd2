//! Elementary functions of one f32, from `+ - * / sqrt` and bit casts alone.
//!
//! Each is a fixed reduction, a fixed polynomial in Horner order and a fixed reconstruction. The
//! coefficients are minimax fits made for this crate and rounded to f32; hex bits are the
//! definition. Both sides of a case split are computed and one is selected, so that a loop over a
//! row can be vectorised.

mod erf;
mod exp;
mod ln;
mod pow;
mod tanh;
mod trig;

pub use erf::erf;
pub use exp::exp;
pub use ln::ln;
pub use pow::pow;
pub use tanh::{sigmoid, tanh};
pub use trig::{cos, sin, sin_cos};

/// `1 / sqrt(x)`, both correctly rounded: within 1.5 ulp. 0 gives +inf, -0 gives -inf, x < 0 gives
/// NaN.
#[inline(always)]
pub fn rsqrt(x: f32) -> f32 {
    1.0 / x.sqrt()
}

/// `c[0] + c[1] x + c[2] x² + …`, from the highest coefficient down: `acc = acc * x + c[k]`.
#[inline(always)]
fn horner<const N: usize>(x: f32, c: [f32; N]) -> f32 {
    let mut acc = c[N - 1];
    for &c in c[..N - 1].iter().rev() {
        acc = acc * x + c;
    }
    acc
}

/// The coefficients with the given bits, lowest power first.
const fn coefficients<const N: usize>(bits: [u32; N]) -> [f32; N] {
    let mut c = [0.0; N];
    let mut k = 0;
    while k < N {
        c[k] = f32::from_bits(bits[k]);
        k += 1;
    }
    c
}
