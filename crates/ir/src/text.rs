//! The text form: what dumps show, tests compare and people write.
//!
//! ```text
//! graph minilm
//!   @0 : f32[32,16] "encoder.weight" = absent        ; constants: name and source may be left out
//!   @1 : f32[4] = [1.0, 2.0, 3.0, 4.0]
//!   @2 : f32[16,32] = synthetic normal(std=0.02, seed=0)
//!   @3 : i8[16,32] channel(1) = quantize @2
//!   %0 : f32[8,16] = input "x"
//!   %1 : f32[8,32] = matmul %0, @0 transpose_b alpha=0.125
//!   %2 : f32[8,4], i64[8,4] = top_k %1 axis=1 count=4 largest
//!   output %2 "y"
//!   output %2.1 "places"
//! ```
//!
//! One statement a line, comments from `;`. Every type is written out and checked against the shape
//! rules. Attributes follow the operands: flags by their names, the others as `name=value`; those
//! that the types tell (`shape` of a reshape) or that are as usual (`alpha=1.0`) are left out.
//!
//! Ids are those of the graph: `parse(print(g))` numbers nodes as `g` does, and prints the same. Nodes
//! stand after what they read. [`print_full`] adds what is not needed to compute: the layer that each
//! node comes from (`from "encoder.layer.0" ["/MatMul"]`) and the figures of the model (`facts …`).

mod annotate;
mod attributes;
mod build;
mod cursor;
mod data;
mod lexer;
mod operators;
mod parser;
mod printer;

use std::fmt;

use crate::graph::Graph;

pub use annotate::{annotate, locate};

/// What a dump shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Origins of nodes and figures of the model.
    pub provenance: bool,
    /// Values of large constants; without them such a constant reads `absent`, and the text is that
    /// of the same graph without values.
    pub data: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            provenance: false,
            data: true,
        }
    }
}

/// A complaint about a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// Stable kebab-case slug.
    pub code: &'static str,
    /// What is wrong, one sentence.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {} [{}]",
            self.line, self.column, self.message, self.code
        )
    }
}

impl std::error::Error for ParseError {}

/// The text of a graph: constants, nodes, outputs.
pub fn print(graph: &Graph) -> String {
    printer::print(graph, &Options::default())
}

/// The text of a graph with origins and facts: all there is to it.
pub fn print_full(graph: &Graph) -> String {
    printer::print(
        graph,
        &Options {
            provenance: true,
            ..Options::default()
        },
    )
}

/// The text of a graph as the options say.
pub fn print_with(graph: &Graph, options: &Options) -> String {
    printer::print(graph, options)
}

/// The graph of a text.
///
/// # Errors
/// Every complaint about the text, in order of lines; never empty.
pub fn parse(source: &str) -> Result<Graph, Vec<ParseError>> {
    build::build(parser::parse(source))
}

/// The operator of its name and attributes, and the types of its operands, for tests of rules.
#[cfg(test)]
pub(crate) fn operator_line(operator: &str, operands: &[&str]) -> (crate::Op, Vec<crate::Type>) {
    let (name, attributes) = operator.split_once(' ').unwrap_or((operator, ""));
    let values = vec!["%0"; operands.len()].join(", ");
    let types = if operands.is_empty() {
        "f32[]".to_owned()
    } else {
        operands.join(", ")
    };
    let mut lines = parser::parse(&format!("%0 : {types} = {name} {values} {attributes}"));
    match lines.swap_remove(0).statement {
        Ok(parser::Statement::Node(node)) if operands.is_empty() => (node.op, Vec::new()),
        Ok(parser::Statement::Node(node)) => (node.op, node.types),
        other => panic!("{operator}: {other:?}"),
    }
}

#[cfg(test)]
mod tests;
