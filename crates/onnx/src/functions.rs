//! Functions that a model defines: each call is replaced by the function's nodes.
//!
//! This happens once, when a model is loaded, so that everything behind it sees plain nodes. Values
//! inside of a call get the name of the call in front of theirs.

use std::collections::HashMap;

use packwright_ir::diag::Diagnostic;

use crate::codes;
use crate::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};

/// Nodes that all calls together may become.
const MOST_NODES: usize = 1 << 18;
/// Calls within calls.
const DEEPEST: usize = 32;

/// Replaces every call of a function in the main graph and its branches.
///
/// # Errors
/// A function that calls itself, is of other operator sets than the model, or becomes too many nodes.
pub(crate) fn inline(model: &mut ModelProto) -> Result<(), Diagnostic> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let functions = std::mem::take(&mut model.functions);
    let table: HashMap<Key<'_>, &FunctionProto> = functions
        .iter()
        .map(|f| ((f.domain(), f.name(), f.overload()), f))
        .collect();
    let mut calls = Calls {
        table,
        opsets: &model.opset_import,
        made: 0,
        number: 0,
    };
    if let Some(graph) = &mut model.graph {
        calls.graph(graph, 0)?;
    }
    Ok(())
}

type Key<'f> = (&'f str, &'f str, &'f str);

struct Calls<'f> {
    table: HashMap<Key<'f>, &'f FunctionProto>,
    opsets: &'f [crate::proto::OperatorSetIdProto],
    /// Nodes made so far.
    made: usize,
    /// Calls so far, for names.
    number: usize,
}

impl Calls<'_> {
    fn graph(&mut self, graph: &mut GraphProto, depth: usize) -> Result<(), Diagnostic> {
        let mut nodes = Vec::with_capacity(graph.node.len());
        for node in std::mem::take(&mut graph.node) {
            self.node(node, depth, &mut nodes)?;
        }
        graph.node = nodes;
        Ok(())
    }

    /// A node, or what it becomes where it is a call.
    fn node(
        &mut self,
        mut node: NodeProto,
        depth: usize,
        nodes: &mut Vec<NodeProto>,
    ) -> Result<(), Diagnostic> {
        for attribute in &mut node.attribute {
            if let Some(branch) = &mut attribute.g {
                self.graph(branch, depth + 1)?;
            }
        }
        let key = (node.domain(), node.op_type(), node.overload());
        let Some(&function) = self.table.get(&key) else {
            nodes.push(node);
            return Ok(());
        };
        if depth >= DEEPEST {
            return Err(codes::function(function.name(), "calls itself"));
        }
        self.made = self.made.saturating_add(function.node.len());
        if self.made > MOST_NODES {
            return Err(codes::function(function.name(), "becomes too many nodes"));
        }
        self.check_opsets(function)?;
        self.number += 1;
        let call = Call::new(&node, function, self.number);
        for inner in &function.node {
            self.node(call.node(inner), depth + 1, nodes)?;
        }
        nodes.extend(call.missing_results(&node, function));
        Ok(())
    }

    /// A function of other versions would change the meaning of its nodes.
    fn check_opsets(&self, function: &FunctionProto) -> Result<(), Diagnostic> {
        let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
        for set in &function.opset_import {
            let model = self.opsets.iter().find(|o| {
                o.domain() == set.domain() || (default(o.domain()) && default(set.domain()))
            });
            if default(set.domain())
                && let Some(model) = model
                && model.version() != set.version()
            {
                let problem = format!(
                    "is of operator set {}, the model of {}",
                    set.version(),
                    model.version()
                );
                return Err(codes::function(function.name(), &problem));
            }
        }
        Ok(())
    }
}

/// One call: what the function's names and attributes stand for.
struct Call {
    prefix: String,
    /// Names of the caller by names of the function.
    names: HashMap<String, String>,
    attributes: HashMap<String, AttributeProto>,
}

impl Call {
    fn new(node: &NodeProto, function: &FunctionProto, number: usize) -> Self {
        let prefix = match node.name() {
            "" => format!("{}_{number}", function.name()),
            name => format!("{name}_{number}"),
        };
        let mut names = HashMap::new();
        let given = node
            .input
            .iter()
            .map(String::as_str)
            .chain(std::iter::repeat(""));
        for (name, given) in function.input.iter().zip(given) {
            names.insert(name.clone(), given.to_owned());
        }
        // A result that is an operand as well keeps the operand's name; see `missing_results`.
        for (name, given) in function.output.iter().zip(&node.output) {
            if !given.is_empty() && !function.input.contains(name) {
                names.insert(name.clone(), given.clone());
            }
        }
        let defaults = function.attribute_proto.iter();
        let attributes = defaults
            .chain(&node.attribute)
            .map(|a| (a.name().to_owned(), a.clone()))
            .collect();
        Self {
            prefix,
            names,
            attributes,
        }
    }

    fn name(&self, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        match self.names.get(name) {
            Some(given) => given.clone(),
            None => format!("{}/{name}", self.prefix),
        }
    }

    fn node(&self, inner: &NodeProto) -> NodeProto {
        let mut node = inner.clone();
        if !node.name().is_empty() {
            node.name = Some(format!("{}/{}", self.prefix, node.name()));
        }
        for name in node.input.iter_mut().chain(&mut node.output) {
            *name = self.name(name);
        }
        node.attribute = inner
            .attribute
            .iter()
            .filter_map(|a| self.attribute(a))
            .collect();
        node
    }

    /// An attribute with its value, where it names one of the call; none where the call leaves it out.
    fn attribute(&self, inner: &AttributeProto) -> Option<AttributeProto> {
        let mut attribute = match inner.ref_attr_name() {
            "" => inner.clone(),
            wanted => AttributeProto {
                name: inner.name.clone(),
                ..self.attributes.get(wanted)?.clone()
            },
        };
        if let Some(graph) = &mut attribute.g {
            self.branch(graph);
        }
        Some(attribute)
    }

    fn branch(&self, graph: &mut GraphProto) {
        for tensor in &mut graph.initializer {
            tensor.name = Some(self.name(tensor.name()));
        }
        for info in graph.input.iter_mut().chain(&mut graph.output) {
            info.name = Some(self.name(info.name()));
        }
        graph.node = graph.node.iter().map(|node| self.node(node)).collect();
    }

    /// Results that the function passes on from its operands.
    fn missing_results(&self, node: &NodeProto, function: &FunctionProto) -> Vec<NodeProto> {
        let passed = function.output.iter().zip(&node.output);
        let passed =
            passed.filter(|(name, given)| !given.is_empty() && function.input.contains(*name));
        passed
            .map(|(name, given)| NodeProto {
                op_type: Some("Identity".to_owned()),
                input: vec![self.name(name)],
                output: vec![given.clone()],
                ..NodeProto::default()
            })
            .collect()
    }
}
