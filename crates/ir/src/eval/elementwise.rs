//! Functions of single elements.

use packwright_numerics::activation::Activation;
use packwright_numerics::elementary::{cos, erf, exp, ln, pow, rsqrt, sin, tanh};
use packwright_numerics::round::round_ties_even;

use super::EvalError;
use super::lanes::{self, Lanes};
use crate::op::{Binary, Unary};
use crate::tensor::Tensor;
use crate::ty::Type;

/// `f(x)`.
pub(super) fn unary(f: Unary, x: &Tensor, ty: &Type) -> Tensor {
    let result = match lanes::of(x) {
        Lanes::Bool(v) => Lanes::Bool(v.into_iter().map(|x| !x).collect()),
        Lanes::Int(v) => Lanes::Int(v.into_iter().map(|x| integer(f, x)).collect()),
        Lanes::F32(v) if f == Unary::IsNan => Lanes::Bool(v.iter().map(|x| x.is_nan()).collect()),
        Lanes::F64(v) if f == Unary::IsNan => Lanes::Bool(v.iter().map(|x| x.is_nan()).collect()),
        Lanes::F32(v) => Lanes::F32(v.into_iter().map(|x| float(f, x)).collect()),
        Lanes::F64(v) => Lanes::F64(v.into_iter().map(|x| double(f, x)).collect()),
    };
    lanes::store(ty.elem, &ty.shape, result)
}

fn integer(f: Unary, x: i64) -> i64 {
    match f {
        Unary::Neg => x.wrapping_neg(),
        Unary::Abs => x.wrapping_abs(),
        Unary::Relu => x.max(0),
        _ => x,
    }
}

/// One f32 as the vector unit computes it.
pub(super) fn float(f: Unary, x: f32) -> f32 {
    match f {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => rsqrt(x),
        Unary::Reciprocal => 1.0 / x,
        Unary::Exp => exp(x),
        Unary::Log => ln(x),
        Unary::Erf => erf(x),
        Unary::Tanh => tanh(x),
        Unary::Sigmoid => Activation::Sigmoid.apply(x),
        Unary::Relu => Activation::Relu.apply(x),
        Unary::GeluErf => Activation::GeluErf.apply(x),
        Unary::GeluTanh => Activation::GeluTanh.apply(x),
        Unary::Silu => Activation::Silu.apply(x),
        Unary::Sin => sin(x),
        Unary::Cos => cos(x),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => round_ties_even(x),
        Unary::Not | Unary::IsNan => x,
    }
}

/// f64 is met in shape work only; functions without an exact form go through f32.
fn double(f: Unary, x: f64) -> f64 {
    match f {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Relu => x.max(0.0),
        _ => f64::from(float(f, x as f32)),
    }
}

/// `f(a, b)` with broadcasting.
pub(super) fn binary(f: Binary, a: &Tensor, b: &Tensor, ty: &Type) -> Result<Tensor, EvalError> {
    let shape = &ty.shape;
    let left = lanes::of(a).broadcast(a.shape(), shape);
    let right = lanes::of(b).broadcast(b.shape(), shape);
    let result = match (left, right) {
        (Lanes::Bool(a), Lanes::Bool(b)) => {
            Lanes::Bool(a.into_iter().zip(b).map(|(a, b)| logic(f, a, b)).collect())
        }
        (Lanes::Int(a), Lanes::Int(b)) => match comparison(f) {
            Some(holds) => compared(&a, &b, holds),
            None => Lanes::Int(
                a.into_iter()
                    .zip(b)
                    .map(|(a, b)| whole(f, a, b))
                    .collect::<Result<_, _>>()?,
            ),
        },
        (Lanes::F32(a), Lanes::F32(b)) => match comparison(f) {
            Some(holds) => compared(&a, &b, holds),
            None => Lanes::F32(a.into_iter().zip(b).map(|(a, b)| real(f, a, b)).collect()),
        },
        (a, b) => {
            let (a, b) = (wide(a), wide(b));
            match comparison(f) {
                Some(holds) => compared(&a, &b, holds),
                None => Lanes::F64(
                    a.into_iter()
                        .zip(b)
                        .map(|(a, b)| wide_real(f, a, b))
                        .collect(),
                ),
            }
        }
    };
    Ok(lanes::store(ty.elem, shape, result))
}

fn wide(lanes: Lanes) -> Vec<f64> {
    match lanes {
        Lanes::F64(v) => v,
        other => lanes::to_f32(other).into_iter().map(f64::from).collect(),
    }
}

type Order = Option<std::cmp::Ordering>;

/// Whether the comparison holds, element by element.
fn compared<T: PartialOrd>(a: &[T], b: &[T], holds: fn(Order) -> bool) -> Lanes {
    let pairs = a.iter().zip(b);
    Lanes::Bool(pairs.map(|(a, b)| holds(a.partial_cmp(b))).collect())
}

fn comparison(f: Binary) -> Option<fn(Order) -> bool> {
    Some(match f {
        Binary::Equal => |o| o.is_some_and(|o| o.is_eq()),
        Binary::Less => |o| o.is_some_and(|o| o.is_lt()),
        Binary::LessOrEqual => |o| o.is_some_and(|o| o.is_le()),
        Binary::Greater => |o| o.is_some_and(|o| o.is_gt()),
        Binary::GreaterOrEqual => |o| o.is_some_and(|o| o.is_ge()),
        _ => return None,
    })
}

fn logic(f: Binary, a: bool, b: bool) -> bool {
    match f {
        Binary::And => a && b,
        Binary::Or => a || b,
        Binary::Xor => a != b,
        _ => a == b,
    }
}

fn whole(f: Binary, a: i64, b: i64) -> Result<i64, EvalError> {
    Ok(match f {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div | Binary::Mod if b == 0 => return Err(EvalError::DivisionByZero),
        Binary::Div => a.wrapping_div(b),
        // The sign is the divisor's.
        Binary::Mod => a.wrapping_rem(b).wrapping_add(b).wrapping_rem(b),
        Binary::Pow => match u32::try_from(b) {
            Ok(b) => a.wrapping_pow(b),
            Err(_) => i64::from(a == 1),
        },
        Binary::Min => a.min(b),
        _ => a.max(b),
    })
}

fn real(f: Binary, a: f32, b: f32) -> f32 {
    match f {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Mod => a - (a / b).floor() * b,
        Binary::Pow => pow(a, b),
        Binary::Min => packwright_numerics::reduce::min_row(&[a, b]),
        _ => packwright_numerics::reduce::max_row(&[a, b]),
    }
}

fn wide_real(f: Binary, a: f64, b: f64) -> f64 {
    match f {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Mod => a - (a / b).floor() * b,
        Binary::Pow if b == 2.0 => a * a,
        Binary::Pow => f64::from(pow(a as f32, b as f32)),
        Binary::Min if a.is_nan() || b.is_nan() => f64::NAN,
        Binary::Min => a.min(b),
        _ if a.is_nan() || b.is_nan() => f64::NAN,
        _ => a.max(b),
    }
}

/// `cond ? a : b` with broadcasting.
pub(super) fn select(cond: &Tensor, a: &Tensor, b: &Tensor, ty: &Type) -> Tensor {
    let shape = &ty.shape;
    let Lanes::Bool(cond) = lanes::of(cond).broadcast(cond.shape(), shape) else {
        unreachable!("the condition is bool")
    };
    let a = lanes::of(&lanes::cast(a, ty.elem)).broadcast(a.shape(), shape);
    let b = lanes::of(&lanes::cast(b, ty.elem)).broadcast(b.shape(), shape);
    fn choose<T>(cond: &[bool], a: Vec<T>, b: Vec<T>) -> Vec<T> {
        cond.iter()
            .zip(a.into_iter().zip(b))
            .map(|(&c, (a, b))| if c { a } else { b })
            .collect()
    }
    let result = match (a, b) {
        (Lanes::F32(a), Lanes::F32(b)) => Lanes::F32(choose(&cond, a, b)),
        (Lanes::F64(a), Lanes::F64(b)) => Lanes::F64(choose(&cond, a, b)),
        (Lanes::Int(a), Lanes::Int(b)) => Lanes::Int(choose(&cond, a, b)),
        (Lanes::Bool(a), Lanes::Bool(b)) => Lanes::Bool(choose(&cond, a, b)),
        _ => unreachable!("both branches have the result's elements"),
    };
    lanes::store(ty.elem, shape, result)
}
