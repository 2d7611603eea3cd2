//! Sizes that depend on what inputs hold: one complaint for all nodes that wait for the same inputs.

use indexmap::IndexSet;
use packwright_ir::diag::Diagnostic;
use packwright_ir::{Graph, NodeId, Op, Value};

use crate::codes;

/// Complaints of nodes whose sizes inputs decide.
#[derive(Debug, Default)]
pub(crate) struct Waits(Vec<Wait>);

#[derive(Debug)]
struct Wait {
    /// Which complaint.
    error: usize,
    /// The inputs that it waits for.
    inputs: IndexSet<String>,
}

impl Waits {
    /// Notes that a complaint is about the values behind an operand.
    pub(crate) fn note(&mut self, error: usize, graph: &Graph, value: Value) {
        let inputs = inputs(graph, value);
        if !inputs.is_empty() {
            self.0.push(Wait { error, inputs });
        }
    }

    /// All complaints; of those that have an input in common, only the first stays and speaks for the others.
    pub(crate) fn join(self, errors: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let mut groups: Vec<(Vec<usize>, IndexSet<String>)> = Vec::new();
        for wait in self.0 {
            let (mut members, mut inputs) = (Vec::new(), IndexSet::new());
            groups.retain(|(others, of_others)| {
                let apart = of_others.is_disjoint(&wait.inputs);
                if !apart {
                    members.extend(others);
                    inputs.extend(of_others.iter().cloned());
                }
                apart
            });
            members.push(wait.error);
            inputs.extend(wait.inputs);
            groups.push((members, inputs));
        }
        let mut joined: Vec<Option<Diagnostic>> = errors.into_iter().map(Some).collect();
        for (mut members, inputs) in groups {
            members.sort_unstable();
            let mut taken = members.iter().filter_map(|&at| joined.get_mut(at)?.take());
            let Some(first) = taken.next() else { continue };
            let others: Vec<String> = taken.filter_map(|error| error.place).collect();
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            joined[members[0]] = Some(codes::waits(first, &others, &inputs));
        }
        joined.into_iter().flatten().collect()
    }
}

/// The inputs that a value is computed from, in the order of the graph.
fn inputs(graph: &Graph, value: Value) -> IndexSet<String> {
    let mut seen: IndexSet<NodeId> = IndexSet::from([value.node]);
    let mut next = 0;
    while let Some(&node) = seen.get_index(next) {
        seen.extend(graph.operands(node).into_iter().map(|operand| operand.node));
        next += 1;
    }
    let mut nodes: Vec<NodeId> = seen.into_iter().collect();
    nodes.sort_unstable();
    let name = |node: NodeId| match graph.op(node) {
        Op::Input { name } => Some(name.clone()),
        _ => None,
    };
    nodes.into_iter().filter_map(name).collect()
}
