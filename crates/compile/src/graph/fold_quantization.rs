//! `fold-quantization`: what a model says about int8 stays in front of the products that read it.
//!
//! Products with stored weights read the model's own integers. Elsewhere (between the steps of a norm, on the
//! stream, inside attention) rounding to int8 only loses what the machine can keep: there values stay floats.

use indexmap::IndexMap;
use packwright_ir::diag::Diagnostics;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Quant, Value, infer};

use super::matching::add;
use super::recipe;

/// Moves quantisation to where products read it, and drops the rest.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut floats: IndexMap<Value, Value> = IndexMap::new();
    let mut kept: IndexMap<Value, Value> = IndexMap::new();
    let mut count = 0;
    for node in topological(graph) {
        let value = Value::from(node);
        match graph.op(node).clone() {
            Op::Quantize {
                quant: Quant::Affine { .. },
            } => {
                let x = graph.operands(node)[0];
                floats.insert(value, x);
            }
            Op::Dequantize { .. } => {
                let quantized = graph.operands(node)[0];
                if let Some(&float) = floats.get(&quantized) {
                    count += usize::from(settle(graph, node, quantized, float, &mut kept)?);
                }
            }
            op => {
                let operands = graph.operands(node);
                let twins: Option<Vec<Value>> =
                    operands.iter().map(|v| floats.get(v).copied()).collect();
                let moves = matches!(
                    op,
                    Op::Reshape { .. }
                        | Op::Transpose { .. }
                        | Op::Slice { .. }
                        | Op::Concat { .. }
                        | Op::Expand { .. }
                );
                if let Some(twins) = twins.filter(|twins| moves && !twins.is_empty()) {
                    let origin = graph.origin_of(node);
                    let twin = add(graph, op, &twins, origin)?;
                    floats.insert(value, twin);
                }
            }
        }
    }
    Ok(count)
}

/// Gives each reader of what was quantised what it should read. Whether any reads something else now.
fn settle(
    graph: &mut Graph,
    node: NodeId,
    quantized: Value,
    float: Value,
    kept: &mut IndexMap<Value, Value>,
) -> Result<bool, Diagnostics> {
    let value = Value::from(node);
    let direct = matches!(graph.op(quantized.node), Op::Quantize { .. });
    let same = graph.ty(float) == graph.ty(value);
    let mut plain = float;
    if !same {
        let to = graph.ty(value).elem;
        let origin = graph.origin_of(node);
        plain = add(graph, Op::Cast { to }, &[float], origin)?;
    }
    let mut changed = false;
    for (user, position) in graph.users(value) {
        let product = position == 0 && recipe::layer(graph, user).is_some();
        let operand = match product {
            true if direct => continue,
            true => pair(graph, node, quantized, float, kept)?,
            false => plain,
        };
        let mut operands = graph.operands(user);
        operands[position] = operand;
        graph.set_operands(user, &operands);
        changed = true;
    }
    for index in 0..graph.outputs().len() {
        if graph.outputs()[index].value == value {
            graph.set_output(index, plain);
            changed = true;
        }
    }
    Ok(changed)
}

/// The same rounding right in front of its reader.
fn pair(
    graph: &mut Graph,
    node: NodeId,
    quantized: Value,
    float: Value,
    kept: &mut IndexMap<Value, Value>,
) -> Result<Value, Diagnostics> {
    if let Some(&pair) = kept.get(&quantized) {
        return Ok(pair);
    }
    let Some(quant) = graph.ty(quantized).quant else {
        return Ok(float);
    };
    let (op, origin) = (graph.op(node).clone(), graph.origin_of(node));
    let integers = infer::add(graph, Op::Quantize { quant }, &[float], origin)?;
    let pair = add(graph, op, &[integers.into()], origin)?;
    kept.insert(quantized, pair);
    Ok(pair)
}
