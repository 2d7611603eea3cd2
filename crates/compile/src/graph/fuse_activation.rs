//! `fuse-activation`: a function of a product's result becomes part of the product.

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::{Activation, Unary};
use packwright_ir::order::topological;
use packwright_ir::{Graph, Op, Value};

use super::matching::only_user;

/// Takes activations into products.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        let Op::Unary(f) = graph.op(node) else {
            continue;
        };
        let Some(activation) = activation(*f) else {
            continue;
        };
        let Some(product) = graph.operand(node, 0) else {
            continue;
        };
        let Op::Matmul(attrs) = graph.op(product.node) else {
            continue;
        };
        let open = !attrs.residual && attrs.activation.is_none();
        if !open || only_user(graph, product).is_none() {
            continue;
        }
        let mut attrs = attrs.clone();
        attrs.activation = Some(activation);
        graph.set_op(product.node, Op::Matmul(attrs));
        graph.replace_uses(Value::from(node), product);
        count += 1;
    }
    Ok(count)
}

fn activation(f: Unary) -> Option<Activation> {
    Some(match f {
        Unary::Relu => Activation::Relu,
        Unary::GeluErf => Activation::GeluErf,
        Unary::GeluTanh => Activation::GeluTanh,
        Unary::Silu => Activation::Silu,
        Unary::Sigmoid => Activation::Sigmoid,
        Unary::Tanh => Activation::Tanh,
        _ => return None,
    })
}
