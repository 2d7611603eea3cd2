//! `fuse-embedding`: sums of rows of tables become one node.

use packwright_ir::diag::Diagnostics;
use packwright_ir::op::Binary;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::matching::{add, binary, only_user};

/// Recognises embeddings.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    let mut done: Vec<NodeId> = Vec::new();
    for node in topological(graph).into_iter().rev() {
        if done.contains(&node) {
            continue;
        }
        let mut pairs = Vec::new();
        let mut inside = Vec::new();
        if !collect(graph, node.into(), true, &mut pairs, &mut inside) {
            continue;
        }
        let operands: Vec<Value> = pairs
            .iter()
            .flat_map(|&(ids, table)| [ids, table])
            .collect();
        let origin = graph.origin_of(node);
        let op = Op::Embedding {
            tables: pairs.len(),
        };
        let sum = add(graph, op, &operands, origin)?;
        if graph.ty(sum) != &graph.types(node)[0] {
            graph.set_operands(sum.node, &[]);
            graph.remove(sum.node);
            continue;
        }
        graph.replace_uses(node.into(), sum);
        done.extend(inside);
        count += 1;
    }
    Ok(count)
}

/// Collects ids and tables in the order in which their rows are added: a sum of gathers, or one.
fn collect(
    graph: &Graph,
    value: Value,
    root: bool,
    pairs: &mut Vec<(Value, Value)>,
    inside: &mut Vec<NodeId>,
) -> bool {
    if !root && only_user(graph, value).is_none() {
        return false;
    }
    inside.push(value.node);
    if let Some((a, b)) = binary(graph, value, Binary::Add) {
        // Only a chain that grows on its left adds in the order of the list.
        return collect(graph, a, false, pairs, inside) && {
            inside.push(b.node);
            only_user(graph, b).is_some() && gathered(graph, b, pairs)
        };
    }
    gathered(graph, value, pairs)
}

fn gathered(graph: &Graph, value: Value, pairs: &mut Vec<(Value, Value)>) -> bool {
    let Op::Gather { axis: 0 } = graph.op(value.node) else {
        return false;
    };
    let operands = graph.operands(value.node);
    let [table, ids] = operands[..] else {
        return false;
    };
    let ty = graph.ty(table);
    let fits = graph.as_const(table).is_some() && ty.elem.is_float() && ty.rank() == 2;
    if fits {
        pairs.push((ids, table));
    }
    fits
}
