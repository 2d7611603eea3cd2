//! What the nodes around a softmax look like, so that layers with the same structure are traced once.

use std::fmt::Write;

use indexmap::{IndexMap, IndexSet};
use packwright_ir::op::Binary;
use packwright_ir::{Graph, NodeId, Value};

use super::Cone;
use super::trace::{leads_to, sources};
use crate::graph::matching::binary;

/// The structure between a result and its leaves as text, and the leaves in the order of the text.
#[derive(Debug)]
pub struct Signature {
    pub text: String,
    pub leaves: IndexSet<Value>,
}

/// Writes the structure of a cone. Leaves appear with their types only, constants as themselves.
pub fn signature(graph: &Graph, cone: &Cone) -> Signature {
    let mut writer = Writer {
        graph,
        cone,
        products: cone
            .score_products
            .iter()
            .chain(&cone.value_products)
            .copied()
            .collect(),
        known: IndexMap::new(),
        found: Signature {
            text: String::new(),
            leaves: IndexSet::new(),
        },
    };
    writer.value(cone.result);
    writer.found
}

struct Writer<'a> {
    graph: &'a Graph,
    cone: &'a Cone,
    products: IndexSet<NodeId>,
    /// Values that have been written, by their numbers.
    known: IndexMap<Value, usize>,
    found: Signature,
}

impl Writer<'_> {
    /// Writes a value behind those that it is made from; returns its number.
    fn value(&mut self, value: Value) -> usize {
        if let Some(&number) = self.known.get(&value) {
            return number;
        }
        let graph = self.graph;
        let operands: Option<Vec<String>> = self.inside(value).map(|operands| {
            let written = operands
                .into_iter()
                .map(|operand| match graph.as_const(operand) {
                    Some(konst) => konst.to_string(),
                    None => self.value(operand).to_string(),
                });
            written.collect()
        });
        let number = self.known.len();
        self.known.insert(value, number);
        let ty = graph.ty(value);
        let line = match operands {
            Some(operands) => {
                let role = match value {
                    _ if value == self.cone.probabilities => "probabilities",
                    _ if value == self.cone.scores => "scores",
                    _ => "",
                };
                writeln!(
                    self.found.text,
                    "{number} {role} : {ty} = {:?} {}",
                    graph.op(value.node),
                    operands.join(" ")
                )
            }
            None => {
                self.found.leaves.insert(value);
                writeln!(self.found.text, "{number} : {ty} = leaf")
            }
        };
        line.expect("text takes any line");
        number
    }

    /// The operands of a node that belongs to the structure.
    fn inside(&self, value: Value) -> Option<Vec<Value>> {
        let graph = self.graph;
        let operands = graph.operands(value.node);
        let softmax = graph.operand(value.node, 0) == Some(self.cone.scores);
        let belongs = self.products.contains(&value.node)
            || sources(graph, value.node).is_some()
            || softmax
            || value == self.cone.probabilities
            || (binary(graph, value, Binary::Add).is_some()
                && leads_to(graph, value, &self.products));
        (belongs && !operands.is_empty()).then_some(operands)
    }
}
