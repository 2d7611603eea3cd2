//! `fuse-gelu`: GELU (by erf and by tanh) and SiLU from their pieces, factors in any order.

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::{Binary, Unary};
use packwright_ir::order::topological;
use packwright_ir::{Graph, Op, Value};

use super::matching::{about, add, binary, either, only_user, scalar, scaled, unary, with_scalar};

/// Factors of the longest product that is looked at.
const MOST_FACTORS: usize = 6;

/// Recognises activations.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph).into_iter().rev() {
        let value = Value::from(node);
        if !matches!(graph.op(node), Op::Binary(Binary::Mul)) {
            continue;
        }
        let Some((x, f)) = silu(graph, value).or_else(|| gelu(graph, value)) else {
            continue;
        };
        if graph.ty(x) != graph.ty(value) {
            continue;
        }
        let origin = graph.origin_of(node);
        let fused = add(graph, Op::Unary(f), &[x], origin)?;
        graph.replace_uses(value, fused);
        count += 1;
    }
    Ok(count)
}

/// `x · sigmoid(x)`.
fn silu(graph: &Graph, value: Value) -> Option<(Value, Unary)> {
    either(graph, value, Binary::Mul)
        .into_iter()
        .find(|&(x, gate)| unary(graph, gate, Unary::Sigmoid) == Some(x))
        .map(|(x, _)| (x, Unary::Silu))
}

/// `x · ½ · (1 + f(x))`.
fn gelu(graph: &Graph, value: Value) -> Option<(Value, Unary)> {
    let mut product = Product {
        number: 1.0,
        factors: Vec::new(),
    };
    product.collect(graph, value, true);
    let [a, b] = product.factors[..] else {
        return None;
    };
    if !about(product.number, 0.5) {
        return None;
    }
    [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        let (inner, one) = with_scalar(graph, gate, Binary::Add)?;
        if one != 1.0 {
            return None;
        }
        if let Some(y) = unary(graph, inner, Unary::Erf) {
            let (y, factor) = scaled(graph, y)?;
            return (y == x && about(factor, std::f64::consts::FRAC_1_SQRT_2))
                .then_some((x, Unary::GeluErf));
        }
        let y = unary(graph, inner, Unary::Tanh)?;
        is_tanh_argument(graph, y, x).then_some((x, Unary::GeluTanh))
    })
}

/// A product of numbers and values.
struct Product {
    number: f64,
    factors: Vec<Value>,
}

impl Product {
    /// Takes products apart that nobody else reads.
    fn collect(&mut self, graph: &Graph, value: Value, root: bool) {
        if self.factors.len() > MOST_FACTORS {
            return;
        }
        let own = root || only_user(graph, value).is_some();
        match binary(graph, value, Binary::Mul) {
            Some((a, b)) if own => {
                for part in [a, b] {
                    match scalar(graph, part) {
                        Some(number) => self.number *= number,
                        None => self.collect(graph, part, false),
                    }
                }
            }
            _ => self.factors.push(value),
        }
    }
}

/// Whether `y` is `√(2/π) · (x + 0.044715 · x³)`.
fn is_tanh_argument(graph: &Graph, y: Value, x: Value) -> bool {
    let Some((sum, factor)) = scaled(graph, y) else {
        return false;
    };
    if !about(factor, (2.0 / std::f64::consts::PI).sqrt()) {
        return false;
    }
    either(graph, sum, Binary::Add)
        .into_iter()
        .any(|(linear, cubic)| {
            let Some((cube, factor)) = scaled(graph, cubic) else {
                return false;
            };
            linear == x && about(factor, 0.044_715) && is_cube(graph, cube, x)
        })
}

fn is_cube(graph: &Graph, cube: Value, x: Value) -> bool {
    if let Some((base, exponent)) = binary(graph, cube, Binary::Pow) {
        return base == x && scalar(graph, exponent) == Some(3.0);
    }
    either(graph, cube, Binary::Mul)
        .into_iter()
        .any(|(square, other)| other == x && binary(graph, square, Binary::Mul) == Some((x, x)))
}
