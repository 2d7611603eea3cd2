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
        let origin = graph.origin_of(node);
        let mut operands = Vec::new();
        for Pair { ids, table, shape } in &pairs {
            operands.push(match shape {
                Some(shape) => {
                    let shape = shape.clone();
                    add(graph, Op::Reshape { shape }, &[*ids], origin)?
                }
                None => *ids,
            });
            operands.push(*table);
        }
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

/// Ids and a table, and the shape that the ids take where rows are reshaped.
struct Pair {
    ids: Value,
    table: Value,
    shape: Option<Vec<usize>>,
}

/// Collects ids and tables in the order in which their rows are added: a sum of gathers, or one.
fn collect(
    graph: &Graph,
    value: Value,
    root: bool,
    pairs: &mut Vec<Pair>,
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
            only_user(graph, b).is_some() && gathered(graph, b, pairs, inside)
        };
    }
    gathered(graph, value, pairs, inside)
}

fn gathered(graph: &Graph, value: Value, pairs: &mut Vec<Pair>, inside: &mut Vec<NodeId>) -> bool {
    // Rows that are reshaped stay rows.
    let (rows, shape) = match graph.op(value.node) {
        Op::Reshape { shape } if shape.len() >= 2 => match graph.operand(value.node, 0) {
            Some(rows) if graph.ty(rows).shape.last() == shape.last() => {
                (rows, Some(shape[..shape.len() - 1].to_vec()))
            }
            _ => return false,
        },
        _ => (value, None),
    };
    let Op::Gather { axis: 0 } = graph.op(rows.node) else {
        return false;
    };
    let operands = graph.operands(rows.node);
    let [table, ids] = operands[..] else {
        return false;
    };
    let ty = graph.ty(table);
    let fits = graph.as_const(table).is_some() && ty.elem.is_float() && ty.rank() == 2;
    if fits {
        inside.push(rows.node);
        pairs.push(Pair { ids, table, shape });
    }
    fits
}
