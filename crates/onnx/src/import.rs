//! From a bound model to a graph, in one walk over its nodes.

use std::cell::Cell;
use std::collections::HashMap;

use indexmap::IndexMap;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::graph::Origin;
use packwright_ir::tensor::Tensor;
use packwright_ir::{Graph, NodeId, Op, Type, order};

use crate::attr::Attrs;
use crate::bind::{Binding, Bound, bind};
use crate::builder::{Arg, Builder, FOLD_LIMIT};
use crate::codes;
use crate::layer::layers;
use crate::load::Model;
use crate::node::Node;
use crate::proto::{GraphProto, NodeProto};
use crate::run_time::Waits;
use crate::{registry, values, weights};

/// How a model is imported.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Lengths of named axes.
    pub binding: Binding,
    /// Makes weights that the file leaves out, from this seed. Without it they stay absent.
    pub synthetic: Option<u64>,
    /// Inputs that are constants instead, by name. What is computed from them is computed now.
    pub fixed: IndexMap<String, Tensor>,
}

/// An imported model.
#[derive(Clone, Debug)]
pub struct Imported {
    pub graph: Graph,
    pub warnings: Vec<Diagnostic>,
}

/// Turns a model into a graph.
///
/// # Errors
/// Everything that stands in the way, not only the first; what follows from it is left out.
pub fn import(model: &Model, options: &ImportOptions) -> Result<Imported, Diagnostics> {
    let bound = bind(model, &options.binding)?;
    let mut builder = Builder::new(model.graph().name(), options.binding.random);
    let mut walk = Walk {
        model,
        values: HashMap::new(),
        uses: count_uses(model),
        errors: Vec::new(),
        waits: Waits::default(),
    };
    walk.add_inputs(&mut builder, &bound, options);
    let stored = weights::store(model, &mut builder, options.synthetic)?;
    for (name, arg) in stored.args {
        walk.define(&name, arg);
    }
    let layers = layers(model);
    for (node, layer) in model.graph().node.iter().zip(layers) {
        walk.visit(&mut builder, node, layer);
    }
    walk.add_outputs(&mut builder);
    if !walk.errors.is_empty() {
        return Err(Diagnostics(walk.waits.join(walk.errors)));
    }
    let Builder {
        mut graph,
        macs,
        warnings,
        unpacked,
        ..
    } = builder;
    graph.facts.parameters = stored.parameters.saturating_add(unpacked);
    graph.facts.macs = macs;
    graph.facts.binding = bound.axes.into_iter().collect();
    drop_dead(&mut graph);
    graph.compact();
    Ok(Imported { graph, warnings })
}

struct Walk<'m> {
    model: &'m Model,
    /// Values by name, as long as something still reads them.
    values: HashMap<String, Arg>,
    /// How often each name is still to be read.
    uses: HashMap<&'m str, usize>,
    errors: Vec<Diagnostic>,
    /// Which of the errors wait for values of inputs.
    waits: Waits,
}

impl<'m> Walk<'m> {
    fn add_inputs(&mut self, builder: &mut Builder, bound: &Bound, options: &ImportOptions) {
        let ports = self.model.inputs();
        let constants = options.binding.consts.keys();
        for name in options.fixed.keys().chain(constants) {
            if !ports.iter().any(|p| p.name == *name) {
                self.errors
                    .push(codes::fixed_input(name, "is no input of the model"));
            }
        }
        for (port, shape) in ports.iter().zip(&bound.shapes) {
            let arg = match port.elem {
                None => {
                    self.errors
                        .push(codes::element_type(&port.name, "another type"));
                    Arg::Lost
                }
                Some(elem) => {
                    let ty = Type::new(elem, shape.clone());
                    let given = options.binding.consts.get(&port.name);
                    match (options.fixed.get(&port.name), given) {
                        (Some(tensor), _) => self.fixed(builder, &port.name, &ty, tensor),
                        (None, Some(_)) if ty.elements() > FOLD_LIMIT => {
                            let problem = format!("is {ty}: too large for a constant");
                            self.errors.push(codes::fixed_input(&port.name, &problem));
                            Arg::Lost
                        }
                        (None, Some(given)) => {
                            let tensor = given.tensor(&ty);
                            self.fixed(builder, &port.name, &ty, &tensor)
                        }
                        (None, None) => Arg::Graph(builder.graph.add_input(port.name.clone(), ty)),
                    }
                }
            };
            self.define(&port.name, arg);
        }
    }

    fn fixed(&mut self, builder: &mut Builder, name: &str, ty: &Type, tensor: &Tensor) -> Arg {
        if tensor.ty() != *ty {
            let problem = format!("is {ty} and is fixed to {}", tensor.ty());
            self.errors.push(codes::fixed_input(name, &problem));
            return Arg::Lost;
        }
        builder.label = name.to_owned();
        builder.known(tensor.clone())
    }

    /// Gives a name its value. Values that nobody reads are not kept.
    fn define(&mut self, name: &str, arg: Arg) {
        if self.uses.contains_key(name) && self.values.insert(name.to_owned(), arg).is_some() {
            self.errors.push(codes::duplicate_value(name));
        }
    }

    /// The value of a name for one reader.
    fn read(&mut self, name: &str) -> Option<Arg> {
        let left = self.uses.get_mut(name)?;
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.values.remove(name)
        } else {
            self.values.get(name).cloned()
        }
    }

    fn visit(&mut self, builder: &mut Builder, proto: &'m NodeProto, layer: String) {
        let place = place(proto);
        let args = self.operands(proto, &place);
        let lost = args.iter().flatten().any(|a| matches!(a, Arg::Lost));
        builder.label = proto
            .output
            .iter()
            .find(|o| !o.is_empty())
            .cloned()
            .unwrap_or_default();
        builder.origin = builder.graph.add_origin(Origin {
            layer: layer.clone(),
            nodes: vec![proto.name().to_owned()],
        });
        let warned = builder.warnings.len();
        let results = match registry::find(self.model, proto) {
            // What follows from an error is not reported again; what is refused in any case is.
            Ok((row, _)) if lost && !row.is_refused() => None,
            Ok((row, _)) if row.is_branch() => {
                let results = self.branch(builder, proto, &args, &layer);
                self.checked(proto, &place, results)
            }
            Ok((row, opset)) => {
                let results = proto.output.len();
                let node = Node {
                    attrs: Attrs(proto),
                    args,
                    opset,
                    results,
                    undecided: Cell::new(None),
                };
                let results = row.apply(builder, &node);
                if let Some(Arg::Graph(value)) = node.undecided.get().and_then(|at| node.opt(at)) {
                    self.waits.note(self.errors.len(), &builder.graph, *value);
                }
                self.checked(proto, &place, results)
            }
            Err(e) => self.checked(proto, &place, Err(e)),
        };
        for warning in &mut builder.warnings[warned..] {
            warning.place.get_or_insert_with(|| place.clone());
        }
        let results = results.unwrap_or_default();
        for (at, name) in proto
            .output
            .iter()
            .enumerate()
            .filter(|(_, name)| !name.is_empty())
        {
            self.define(name, results.get(at).cloned().unwrap_or(Arg::Lost));
        }
    }

    /// `If`: the nodes of the branch that is taken, in place of the node.
    fn branch(
        &mut self,
        builder: &mut Builder,
        proto: &'m NodeProto,
        args: &[Option<Arg>],
        layer: &str,
    ) -> Result<Vec<Arg>, Diagnostic> {
        let condition = args.first().and_then(Option::as_ref).and_then(Arg::tensor);
        let taken = match condition.map(values::floats).as_deref() {
            Some([flag]) => *flag != 0.0,
            _ => {
                let flag = proto.input.first().map_or("", String::as_str);
                return Err(codes::branch(flag));
            }
        };
        let name = if taken { "then_branch" } else { "else_branch" };
        let graph = proto
            .attribute
            .iter()
            .find(|a| a.name() == name)
            .and_then(|a| a.g.as_ref());
        let graph = graph.ok_or_else(|| codes::attribute(name, "is missing"))?;
        for tensor in &graph.initializer {
            let ty = values::stored_type(tensor, tensor.name())?;
            let bytes = values::inline_bytes(tensor, &ty, tensor.name())?;
            builder.label = tensor.name().to_owned();
            let value = Tensor::from_le_bytes(&ty, &bytes)
                .ok_or_else(|| codes::tensor_size(tensor.name(), &ty, bytes.len()))?;
            self.define(tensor.name(), builder.known(value));
        }
        for node in &graph.node {
            self.visit(builder, node, layer.to_owned());
        }
        let results = graph.output.iter().map(|output| {
            let name = output.name();
            self.read(name).ok_or_else(|| codes::undefined_value(name))
        });
        results.collect()
    }

    fn operands(&mut self, proto: &NodeProto, place: &str) -> Vec<Option<Arg>> {
        let mut args = Vec::with_capacity(proto.input.len());
        for name in &proto.input {
            if name.is_empty() {
                args.push(None);
                continue;
            }
            let arg = self.read(name);
            if arg.is_none() {
                self.errors.push(codes::undefined_value(name).at(place));
            }
            args.push(Some(arg.unwrap_or(Arg::Lost)));
        }
        args
    }

    /// Results, among them all that somebody reads; an error is noted with its place.
    fn checked(
        &mut self,
        proto: &NodeProto,
        place: &str,
        results: Result<Vec<Arg>, Diagnostic>,
    ) -> Option<Vec<Arg>> {
        let read = |name: &String| self.uses.contains_key(name.as_str());
        let results = results.and_then(|results| {
            let missing = |at: &usize| matches!(results.get(*at), None | Some(Arg::Lost));
            let asked = (0..proto.output.len()).filter(|&at| read(&proto.output[at]));
            match asked.filter(missing).min() {
                Some(at) => Err(codes::form(format!("result {at} is not supported"))),
                None => Ok(results),
            }
        });
        match results {
            Ok(results) => Some(results),
            Err(mut e) => {
                e.message = format!("{}: {}", proto.op_type(), e.message);
                e.place.get_or_insert_with(|| place.to_owned());
                self.errors.push(e);
                None
            }
        }
    }

    fn add_outputs(&mut self, builder: &mut Builder) {
        for info in &self.model.graph().output {
            let name = info.name();
            match self.read(name) {
                Some(Arg::Lost) => {}
                Some(arg) => match builder.value(&arg) {
                    Ok(value) if builder.graph.ty(value).quant.is_some() => {
                        let problem =
                            "a result of the model is quantised: end it with DequantizeLinear";
                        self.errors.push(codes::form(problem).at(name));
                    }
                    Ok(value) => builder.graph.add_output(name, value),
                    Err(e) => self.errors.push(e.at(name)),
                },
                None => self.errors.push(codes::undefined_value(name)),
            }
        }
    }
}

/// The node's name, or what it makes.
fn place(proto: &NodeProto) -> String {
    match proto.name() {
        "" => format!(
            "the node that makes {:?}",
            proto.output.first().map_or("", String::as_str)
        ),
        name => name.to_owned(),
    }
}

fn count_uses(model: &Model) -> HashMap<&str, usize> {
    let mut uses = HashMap::new();
    count_in(model.graph(), &mut uses);
    uses
}

/// Branches count whether they are taken or not: at worst a value is kept for too long.
fn count_in<'m>(graph: &'m GraphProto, uses: &mut HashMap<&'m str, usize>) {
    let reads = graph
        .node
        .iter()
        .flat_map(|n| n.input.iter().map(String::as_str));
    for name in reads
        .chain(graph.output.iter().map(|o| o.name()))
        .filter(|n| !n.is_empty())
    {
        *uses.entry(name).or_insert(0) += 1;
    }
    for branch in graph
        .node
        .iter()
        .flat_map(|n| &n.attribute)
        .filter_map(|a| a.g.as_ref())
    {
        count_in(branch, uses);
    }
}

/// Drops nodes that lead to no result, such as those whose shape alone was asked for.
fn drop_dead(graph: &mut Graph) {
    let nodes = order::topological(graph);
    let slots = nodes.iter().map(|n| n.index() + 1).max().unwrap_or(0);
    let mut live = vec![false; slots];
    let mut mark = |node: NodeId| {
        if let Some(live) = live.get_mut(node.index()) {
            *live = true;
        }
    };
    for output in graph.outputs() {
        mark(output.value.node);
    }
    let mut dead = Vec::new();
    for &node in nodes.iter().rev() {
        if matches!(graph.op(node), Op::Input { .. }) {
            continue;
        }
        if live[node.index()] {
            for operand in graph.operands(node) {
                if let Some(live) = live.get_mut(operand.node.index()) {
                    *live = true;
                }
            }
        } else {
            dead.push(node);
        }
    }
    for node in dead {
        graph.remove(node);
    }
}
