//! Graph → text.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Options, data, operators};
use crate::graph::{Facts, Graph};
use crate::id::{ConstId, NodeId, OriginId, Value};
use crate::konst::{Const, Derivation, Fill, FillKind, Source};
use crate::op::Op;
use crate::order;

/// The text of a graph. Any graph can be printed, also one that the verifier refuses.
pub(super) fn print(graph: &Graph, options: &Options) -> String {
    let mut lines = vec![format!("graph {}", name(&graph.name))];
    for (index, konst) in graph.consts().iter().enumerate() {
        lines.push(constant(ConstId(index as u32), konst, options));
    }
    for id in sequence(graph) {
        lines.push(node(graph, id, options));
    }
    for output in graph.outputs() {
        lines.push(format!(
            "output {} {:?}",
            value(graph, output.value),
            output.name
        ));
    }
    if options.provenance && graph.facts != Facts::default() {
        lines.push(facts(&graph.facts));
    }
    lines.join("\n  ") + "\n"
}

/// Inputs in their order, then the other nodes in topological order; nodes on a cycle come last.
fn sequence(graph: &Graph) -> Vec<NodeId> {
    let inputs = graph
        .inputs()
        .iter()
        .copied()
        .filter(|&id| graph.contains(id));
    let constants = graph
        .node_ids()
        .into_iter()
        .filter(|&id| matches!(graph.op(id), Op::Const(_)));
    let mut seen: BTreeSet<NodeId> = constants.collect();
    let ordered = order::topological(graph);
    let all = inputs.chain(ordered).chain(graph.node_ids());
    all.filter(|&id| seen.insert(id)).collect()
}

fn constant(id: ConstId, konst: &Const, options: &Options) -> String {
    let mut line = format!("{id} : {}", konst.ty);
    // An unnamed constant is named like its id, so that it is not taken for another.
    if konst.name != id.to_string() {
        push(&mut line, &format!("{:?}", konst.name));
    }
    push(&mut line, "=");
    match &konst.source {
        Source::Absent => push(&mut line, "absent"),
        Source::Bytes(bytes) if options.data || data::is_short(&konst.ty) => {
            push(&mut line, &data::print(&konst.ty, bytes));
        }
        Source::Bytes(bytes) => push(&mut line, &format!("absent ; {} bytes", bytes.len())),
        Source::Synthetic(fill) => push(&mut line, &synthetic(fill, &konst.name)),
        Source::Derived(derivation) => push(&mut line, &derived(derivation)),
    }
    line
}

fn synthetic(fill: &Fill, konst: &str) -> String {
    let (kind, mut settings) = match fill.kind {
        FillKind::Normal { std } => ("normal", vec![format!("std={std:?}")]),
        FillKind::Constant { value } => ("constant", vec![format!("value={value:?}")]),
        FillKind::Uniform { low, high } => (
            "uniform",
            vec![format!("low={low:?}"), format!("high={high:?}")],
        ),
        FillKind::UniformInt { low, high } => (
            "uniform_int",
            vec![format!("low={low}"), format!("high={high}")],
        ),
        FillKind::Arange => ("arange", vec![]),
        FillKind::Tril => ("tril", vec![]),
    };
    settings.push(format!("seed={}", fill.seed));
    if fill.name != konst {
        settings.push(format!("name={:?}", fill.name));
    }
    format!("synthetic {kind}({})", settings.join(", "))
}

fn derived(derivation: &Derivation) -> String {
    let of: Vec<String> = derivation
        .sources()
        .iter()
        .map(ConstId::to_string)
        .collect();
    let of = of.join(", ");
    match derivation {
        Derivation::Transpose { perm, .. } => {
            let perm: Vec<String> = perm.iter().map(usize::to_string).collect();
            format!("transpose {of} perm=[{}]", perm.join(","))
        }
        Derivation::Reshape { .. } => format!("reshape {of}"),
        Derivation::Expand { .. } => format!("expand {of}"),
        Derivation::Slice {
            start, count, step, ..
        } => {
            let op = Op::Slice {
                start: start.clone(),
                count: count.clone(),
                step: step.clone(),
            };
            format!(
                "slice {of} {}",
                operators::attributes(&op, &[], 1).join(" ")
            )
        }
        Derivation::Rest { axis, .. } => format!("rest {of} axis={axis}"),
        Derivation::Concat { axis, .. } if of.is_empty() => format!("concat axis={axis}"),
        Derivation::Concat { axis, .. } => format!("concat {of} axis={axis}"),
        Derivation::Quantize { .. } => format!("quantize {of}"),
        Derivation::Dequantize { .. } => format!("dequantize {of}"),
        Derivation::Scaled { .. } => format!("scaled {of}"),
        Derivation::Scale { factor, .. } => format!("scale {of} factor={factor:?}"),
        Derivation::ScaleEach { axis, .. } => format!("scale_each {of} axis={axis}"),
    }
}

fn node(graph: &Graph, id: NodeId, options: &Options) -> String {
    let op = graph.op(id);
    let types: Vec<String> = graph.types(id).iter().map(ToString::to_string).collect();
    let operands = graph.operands(id);
    let mut line = format!("{id} : {} = {}", types.join(", "), op.name());
    if !operands.is_empty() {
        let operands: Vec<String> = operands.iter().map(|&v| value(graph, v)).collect();
        push(&mut line, &operands.join(", "));
    }
    for attribute in operators::attributes(op, graph.types(id), operands.len()) {
        push(&mut line, &attribute);
    }
    if options.provenance && graph.origin_of(id) != OriginId(0) {
        let origin = graph.origin(graph.origin_of(id));
        push(&mut line, &format!("from {:?}", origin.layer));
        if !origin.nodes.is_empty() {
            push(&mut line, &format!("{:?}", origin.nodes));
        }
    }
    line
}

fn facts(facts: &Facts) -> String {
    let mut line = format!("facts parameters={} macs={}", facts.parameters, facts.macs);
    if !facts.binding.is_empty() {
        let pairs: Vec<String> = facts
            .binding
            .iter()
            .map(|(axis, n)| format!("{}={n}", name(axis)))
            .collect();
        // Written without an error: a string takes everything.
        let _ = write!(line, " binding({})", pairs.join(", "));
    }
    line
}

/// A value as an operand: constants by their own id.
fn value(graph: &Graph, value: Value) -> String {
    if graph.contains(value.node)
        && let Some(id) = graph.as_const(value)
    {
        return id.to_string();
    }
    value.to_string()
}

/// A name as it is where it is one word, in quotes otherwise.
fn name(name: &str) -> String {
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if word {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

fn push(line: &mut String, part: &str) {
    line.push(' ');
    line.push_str(part);
}
