//! `fuse-bias`: a row added to a product becomes its bias.

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::Binary;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::matching::{add, either, only_user};

/// Takes biases into products.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        count += usize::from(fused(graph, node)?);
    }
    Ok(count)
}

fn fused(graph: &mut Graph, node: NodeId) -> Result<bool, Diagnostics> {
    let value = Value::from(node);
    for (product, bias) in either(graph, value, Binary::Add) {
        let Op::Matmul(attrs) = graph.op(product.node) else {
            continue;
        };
        let open = !attrs.bias && !attrs.residual && attrs.activation.is_none();
        let ty = graph.ty(product);
        let row = graph.as_const(bias).is_some()
            && graph.ty(bias).elements() == ty.columns()
            && graph.ty(bias).columns() == ty.columns();
        if !open || !row || ty != graph.ty(value) || only_user(graph, product).is_none() {
            continue;
        }
        let mut attrs = attrs.clone();
        attrs.bias = true;
        let origin = graph.origin_of(product.node);
        let mut bias = bias;
        if graph.ty(bias).rank() != 1 {
            let shape = vec![graph.ty(bias).columns()];
            bias = add(graph, Op::Reshape { shape }, &[bias], origin)?;
        }
        let mut operands = graph.operands(product.node);
        operands.push(bias);
        let whole = add(graph, Op::Matmul(attrs), &operands, origin)?;
        graph.replace_uses(value, whole);
        return Ok(true);
    }
    Ok(false)
}
