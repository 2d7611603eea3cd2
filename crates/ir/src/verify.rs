//! The verifier: what holds in every graph, and what can no longer occur at a stage.
//!
//! In every graph: operands and results exist, nothing reads what follows from it, types agree with
//! the shape rules, names of inputs and of outputs are unique, constants fit their types. Each
//! [`Stage`] adds its laws and keeps those before it. A complaint's place is the id of the node
//! (`%3`) or constant (`@0`) to blame.

mod constants;
mod stages;

use std::collections::BTreeSet;

use crate::diag::{Diagnostic, Diagnostics};
use crate::graph::Graph;
use crate::id::{NodeId, Value};
use crate::infer;
use crate::op::Op;
use crate::order;
use crate::ty::Type;

pub(crate) use constants::check as check_const;

/// How far the graph has come. Later stages have all laws of those before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// As the front end made it: the structure holds.
    Imported,
    /// Patterns are recognised and leftovers dropped: no node computes what nobody reads.
    Fused,
    /// Types are chosen: no product or attention reads floats from a large constant.
    Quantized,
    /// The machine's back end can lower it: only operators that a machine has, no f64, and gathering
    /// only of whole rows.
    Legal,
}

/// Checks a graph at a stage: all complaints about links, inputs and outputs, constants, and nodes.
pub fn verify(graph: &Graph, stage: Stage) -> Diagnostics {
    let mut found = Vec::new();
    for node in graph.node_ids() {
        if let Err(problem) = check_links(graph, node) {
            found.push(problem.at(node.to_string()));
        }
    }
    let whole = found.is_empty();
    check_inputs(graph, &mut found);
    check_outputs(graph, &mut found);
    found.extend(constants::check_all(graph));
    // Nobody can walk along broken links.
    if !whole {
        return Diagnostics(found);
    }
    found.extend(check_acyclic(graph));
    for node in graph.node_ids() {
        if let Err(problem) = check_types(graph, node) {
            found.push(problem.at(node.to_string()));
        }
        found.extend(stages::check(graph, node, stage).map(|d| d.at(node.to_string())));
    }
    Diagnostics(found)
}

/// Checks the declared result types of an operator against the shape rule.
///
/// # Errors
/// The first operand rule broken, or `type-mismatch`.
pub(crate) fn check_results(op: &Op, operands: &[&Type], types: &[Type]) -> Result<(), Diagnostic> {
    let inferred = infer::infer(op, operands)?;
    if inferred.len() != types.len() {
        return Err(Diagnostic::error(
            "type-mismatch",
            format!(
                "{} has {} results, not {}",
                op.name(),
                inferred.len(),
                types.len()
            ),
        ));
    }
    for (rule, declared) in inferred.iter().zip(types) {
        if !infer::accepts(op, rule, declared) {
            return Err(Diagnostic::error(
                "type-mismatch",
                format!("the result is declared {declared}, the rule says {rule}"),
            ));
        }
    }
    Ok(())
}

/// Every operand position is filled with a value that exists.
fn check_links(graph: &Graph, node: NodeId) -> Result<(), Diagnostic> {
    let operands = graph.operands(node);
    for (position, &operand) in operands.iter().enumerate() {
        if graph.operand(node, position).is_none() {
            return Err(Diagnostic::error(
                "unknown-operand",
                format!("operand {position} has been removed"),
            ));
        }
        if !exists(graph, operand) {
            return Err(unknown(operand));
        }
    }
    Ok(())
}

fn check_inputs(graph: &Graph, found: &mut Vec<Diagnostic>) {
    let mut names = BTreeSet::new();
    for &node in graph.inputs() {
        let name = graph.contains(node).then(|| graph.op(node));
        match name {
            Some(Op::Input { name }) if names.insert(name.as_str()) => {}
            Some(Op::Input { name }) => found.push(
                Diagnostic::error("name-unique", format!("two inputs are named {name:?}"))
                    .at(node.to_string()),
            ),
            Some(_) | None => found.push(
                Diagnostic::error("inputs-listed", format!("the list of inputs names {node}"))
                    .at(node.to_string()),
            ),
        }
    }
    let is_input = |node: &NodeId| matches!(graph.op(*node), Op::Input { .. });
    for node in graph.node_ids().into_iter().filter(is_input) {
        let listed = graph
            .inputs()
            .iter()
            .filter(|&&input| input == node)
            .count();
        if listed != 1 {
            let message = format!("the list of inputs names it {listed} times");
            found.push(Diagnostic::error("inputs-listed", message).at(node.to_string()));
        }
    }
}

fn check_outputs(graph: &Graph, found: &mut Vec<Diagnostic>) {
    let mut names = BTreeSet::new();
    for output in graph.outputs() {
        if !exists(graph, output.value) {
            found.push(unknown(output.value).at(output.value.node.to_string()));
        }
        if !names.insert(output.name.as_str()) {
            let message = format!("two outputs are named {:?}", output.name);
            let place = output.value.node.to_string();
            found.push(Diagnostic::error("name-unique", message).at(place));
        }
    }
}

/// No node reads what follows from it; the complaint goes to the lowest id of the first cycle found.
fn check_acyclic(graph: &Graph) -> Option<Diagnostic> {
    let ordered: BTreeSet<NodeId> = order::topological(graph).into_iter().collect();
    let left: BTreeSet<NodeId> = graph
        .node_ids()
        .into_iter()
        .filter(|node| !ordered.contains(node) && !matches!(graph.op(*node), Op::Const(_)))
        .collect();
    // Every node that is left reads another: going back long enough ends on a cycle.
    let back = |node: NodeId| {
        graph
            .operands(node)
            .into_iter()
            .map(|v| v.node)
            .find(|node| left.contains(node))
    };
    let mut node = *left.first()?;
    for _ in 0..left.len() {
        node = back(node)?;
    }
    let mut lowest = node;
    let mut next = back(node)?;
    while next != node {
        lowest = lowest.min(next);
        next = back(next)?;
    }
    let message = "reads what follows from it".to_owned();
    Some(Diagnostic::error("cycle", message).at(lowest.to_string()))
}

fn check_types(graph: &Graph, node: NodeId) -> Result<(), Diagnostic> {
    let types = graph.types(node);
    match graph.op(node) {
        Op::Input { .. } => match types {
            [ty] => infer::well_formed(ty),
            _ => Err(Diagnostic::error("type-mismatch", "an input has one type")),
        },
        Op::Const(id) => match types {
            [ty] if graph
                .consts()
                .get(id.index())
                .is_some_and(|konst| konst.ty == *ty) =>
            {
                Ok(())
            }
            _ => Err(Diagnostic::error(
                "type-mismatch",
                format!("differs from the type of {id}"),
            )),
        },
        op => {
            let operands = graph.operands(node);
            let operands: Vec<&Type> = operands.iter().map(|&v| graph.ty(v)).collect();
            check_results(op, &operands, types)
        }
    }
}

fn exists(graph: &Graph, value: Value) -> bool {
    graph.contains(value.node) && (value.slot as usize) < graph.types(value.node).len()
}

fn unknown(value: Value) -> Diagnostic {
    Diagnostic::error("unknown-operand", format!("there is no value {value}"))
}

#[cfg(test)]
mod tests;
