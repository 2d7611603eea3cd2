//! Statements → graph: ids are resolved, types checked, every complaint kept with its line.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::ParseError;
use super::lexer::Problem;
use super::parser::{ConstLine, Line, Name, NodeLine, Operand, Statement};
use crate::diag::Diagnostic;
use crate::graph::{Facts, Graph};
use crate::id::{ConstId, NodeId, OriginId, Value};
use crate::infer;
use crate::konst::{Const, Derivation, Source};
use crate::op::Op;
use crate::ty::Type;
use crate::verify::{self, Stage};

/// The graph of the statements.
pub(super) fn build(lines: Vec<Line>) -> Result<Graph, Vec<ParseError>> {
    let mut text = Text::default();
    for line in lines {
        text.take(line);
    }
    text.check();
    let graph = if text.errors.is_empty() {
        text.graph()
    } else {
        Graph::new("")
    };
    text.errors.sort_by_key(|error| (error.line, error.column));
    if text.errors.is_empty() {
        Ok(graph)
    } else {
        Err(text.errors)
    }
}

/// What has been understood.
#[derive(Default)]
struct Text {
    name: Option<String>,
    /// By id in the text.
    consts: BTreeMap<u32, (usize, ConstLine)>,
    /// In order of lines.
    nodes: Vec<(usize, NodeLine)>,
    /// Where each node stands in `nodes`.
    places: BTreeMap<u32, usize>,
    outputs: Vec<(usize, Operand, String)>,
    facts: Facts,
    /// Ids whose lines are not understood: who reads them is not blamed for it.
    lost_nodes: BTreeSet<u32>,
    lost_consts: BTreeSet<u32>,
    errors: Vec<ParseError>,
}

/// What an operand is.
enum Found {
    Type(Type),
    /// Its line has a complaint already.
    Lost,
}

impl Text {
    fn fail(&mut self, line: usize, problem: Problem) {
        let Problem {
            column,
            code,
            message,
        } = problem;
        self.errors.push(ParseError {
            line,
            column,
            code,
            message,
        });
    }

    fn blame(&mut self, line: usize, column: usize, complaint: Diagnostic) {
        self.fail(
            line,
            Problem::new(column, complaint.code, complaint.message),
        );
    }

    fn take(&mut self, line: Line) {
        let number = line.number;
        let first = self.name.is_none() && self.errors.is_empty();
        match line.statement {
            Err(problem) => {
                match line.defines {
                    Some(Name::Node { id, .. }) => self.lost_nodes.insert(id),
                    Some(Name::Const(id)) => self.lost_consts.insert(id),
                    None => false,
                };
                self.fail(number, problem);
            }
            Ok(Statement::Graph(name)) if self.name.is_none() => self.name = Some(name),
            Ok(Statement::Graph(_)) => {
                self.fail(
                    number,
                    Problem::new(1, "one-graph", "a text holds one graph"),
                );
            }
            Ok(statement) => {
                if first {
                    let message = "the first line names the graph: `graph name`";
                    self.fail(number, Problem::new(1, "one-graph", message));
                }
                self.take_statement(number, statement);
            }
        }
    }

    fn take_statement(&mut self, number: usize, statement: Statement) {
        match statement {
            Statement::Const(konst) => match self.consts.entry(konst.id) {
                Entry::Vacant(place) => {
                    place.insert((number, konst));
                }
                Entry::Occupied(_) => self.fail(number, twice(&ConstId(konst.id).to_string())),
            },
            Statement::Node(node) => {
                match self.places.entry(node.id) {
                    Entry::Vacant(place) => {
                        place.insert(self.nodes.len());
                    }
                    Entry::Occupied(_) => self.fail(number, twice(&NodeId(node.id).to_string())),
                }
                self.nodes.push((number, node));
            }
            Statement::Output { value, name } => self.outputs.push((number, value, name)),
            Statement::Facts(facts) => self.facts = facts,
            Statement::Graph(_) => {}
        }
    }

    /// Complains about everything that is understood and wrong.
    fn check(&mut self) {
        if self.name.is_none() && self.errors.is_empty() {
            self.fail(1, Problem::new(1, "one-graph", "there is no graph"));
        }
        self.check_consts();
        for place in 0..self.nodes.len() {
            if let Err((column, complaint)) = self.check_node(place) {
                self.blame(self.nodes[place].0, column, complaint);
            }
        }
        for index in 0..self.outputs.len() {
            let (line, value, _) = &self.outputs[index];
            let (line, column) = (*line, value.column);
            if let Err(complaint) = self.find(*value, self.nodes.len()) {
                self.blame(line, column, complaint);
            }
        }
        self.check_names();
    }

    fn check_consts(&mut self) {
        let ids: BTreeMap<u32, u32> = self.consts.keys().copied().zip(0..).collect();
        let mut broken = Vec::new();
        for (&id, (line, konst)) in &mut self.consts {
            for of in sources_mut(&mut konst.source) {
                match ids.get(&of.0) {
                    Some(&index) => *of = ConstId(index),
                    None => {
                        broken.push((id, *line, *of));
                        break;
                    }
                }
            }
        }
        let unsound: BTreeSet<u32> = broken.iter().map(|&(id, ..)| id).collect();
        for (_, line, of) in broken {
            if !self.lost_consts.contains(&of.0) {
                let message = format!("there is no constant {of}");
                self.fail(line, Problem::new(1, "unknown-operand", message));
            }
        }
        let consts = self.plain_consts();
        let lines: Vec<(u32, usize)> = self.consts.iter().map(|(&id, k)| (id, k.0)).collect();
        for (index, (id, line)) in lines.into_iter().enumerate() {
            if !unsound.contains(&id)
                && let Err(complaint) = verify::check_const(&consts, index)
            {
                self.blame(line, 1, complaint);
            }
        }
    }

    /// The constants in order of ids.
    fn plain_consts(&self) -> Vec<Const> {
        let constant = |konst: &ConstLine| Const {
            name: konst.name.clone(),
            ty: konst.ty.clone(),
            source: konst.source.clone(),
        };
        self.consts
            .values()
            .map(|(_, konst)| constant(konst))
            .collect()
    }

    fn check_node(&self, place: usize) -> Result<(), (usize, Diagnostic)> {
        let node = &self.nodes[place].1;
        for ty in &node.types {
            infer::well_formed(ty).map_err(|complaint| (1, complaint))?;
        }
        if matches!(node.op, Op::Input { .. }) {
            let one = node.types.len() == 1;
            let complaint = || {
                (
                    1,
                    Diagnostic::error("type-mismatch", "an input has one type"),
                )
            };
            return one.then_some(()).ok_or_else(complaint);
        }
        let mut operands = Vec::with_capacity(node.operands.len());
        for &operand in &node.operands {
            match self
                .find(operand, place)
                .map_err(|complaint| (operand.column, complaint))?
            {
                Found::Type(ty) => operands.push(ty),
                Found::Lost => return Ok(()),
            }
        }
        let operands: Vec<&Type> = operands.iter().collect();
        verify::check_results(&node.op, &operands, &node.types)
            .map_err(|complaint| (node.column, complaint))
    }

    /// What an operand of a line is; it must stand before that line.
    fn find(&self, operand: Operand, before: usize) -> Result<Found, Diagnostic> {
        let unknown = |value: String| {
            Err(Diagnostic::error(
                "unknown-operand",
                format!("there is no value {value}"),
            ))
        };
        match operand.name {
            Name::Const(id) => match self.consts.get(&id) {
                Some((_, konst)) => Ok(Found::Type(konst.ty.clone())),
                None if self.lost_consts.contains(&id) => Ok(Found::Lost),
                None => unknown(ConstId(id).to_string()),
            },
            Name::Node { id, slot } => {
                let value = Value {
                    node: NodeId(id),
                    slot,
                };
                match self.places.get(&id) {
                    Some(&place) if place >= before => Err(Diagnostic::error(
                        "defined-before-use",
                        format!("{value} does not stand before this line"),
                    )),
                    Some(&place) => match self.nodes[place].1.types.get(slot as usize) {
                        Some(ty) => Ok(Found::Type(ty.clone())),
                        None => unknown(value.to_string()),
                    },
                    None if self.lost_nodes.contains(&id) => Ok(Found::Lost),
                    None => unknown(value.to_string()),
                }
            }
        }
    }

    /// Names of inputs and names of outputs are unique.
    fn check_names(&mut self) {
        let mut complaints = Vec::new();
        let mut inputs = BTreeSet::new();
        for (line, node) in &self.nodes {
            if let Op::Input { name } = &node.op
                && !inputs.insert(name)
            {
                complaints.push((*line, format!("two inputs are named {name:?}")));
            }
        }
        let mut outputs = BTreeSet::new();
        for (line, _, name) in &self.outputs {
            if !outputs.insert(name) {
                complaints.push((*line, format!("two outputs are named {name:?}")));
            }
        }
        for (line, message) in complaints {
            self.fail(line, Problem::new(1, "name-unique", message));
        }
    }

    /// The graph of a text without complaints. What only the whole graph shows is still to be found.
    fn graph(&mut self) -> Graph {
        let mut graph = Graph::new(self.name.clone().unwrap_or_default());
        graph.facts = self.facts.clone();
        for konst in self.plain_consts() {
            graph.add_const(konst);
        }
        let ids = self.add_nodes(&mut graph);
        let const_ids: BTreeMap<u32, u32> = self.consts.keys().copied().zip(0..).collect();
        let resolve = |graph: &mut Graph, operand: &Operand| match operand.name {
            Name::Const(id) => graph.const_value(ConstId(const_ids[&id])),
            Name::Node { id, slot } => Value {
                node: ids[&id],
                slot,
            },
        };
        for (_, node) in &self.nodes {
            let operands: Vec<Value> = node
                .operands
                .iter()
                .map(|operand| resolve(&mut graph, operand))
                .collect();
            graph.set_operands(ids[&node.id], &operands);
        }
        for (_, value, name) in &self.outputs {
            let value = resolve(&mut graph, value);
            graph.add_output(name.clone(), value);
        }
        let complaints = verify::verify(&graph, Stage::Imported);
        for complaint in complaints.0 {
            let line = self.line_of(complaint.place.as_deref(), &ids);
            self.blame(line, 1, complaint);
        }
        graph
    }

    /// Adds the nodes without operands, with the ids of the text where these are not too far apart.
    fn add_nodes(&self, graph: &mut Graph) -> BTreeMap<u32, NodeId> {
        let last = self.places.keys().last().map_or(0, |&id| id as usize);
        let keep = last <= 16 * self.nodes.len() + (1 << 16);
        let mut ids = BTreeMap::new();
        let mut gaps = Vec::new();
        let mut add = |graph: &mut Graph, node: &NodeLine| {
            let origin = node
                .origin
                .clone()
                .map_or(OriginId(0), |o| graph.add_origin(o));
            let id = match &node.op {
                Op::Input { name } => {
                    let id = graph.add_input(name.clone(), node.types[0].clone()).node;
                    graph.set_origin(id, origin);
                    id
                }
                op => graph.add(op.clone(), &[], node.types.clone(), origin),
            };
            ids.insert(node.id, id);
        };
        if keep {
            for (&id, &place) in &self.places {
                while graph.node_count() < id as usize {
                    let filler = Op::Input {
                        name: String::new(),
                    };
                    gaps.push(graph.add(filler, &[], Vec::new(), OriginId(0)));
                }
                add(graph, &self.nodes[place].1);
            }
            for gap in gaps {
                graph.remove(gap);
            }
        } else {
            for (_, node) in &self.nodes {
                add(graph, node);
            }
        }
        let inputs = self
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node.op, Op::Input { .. }));
        graph.order_inputs(inputs.map(|(_, node)| ids[&node.id]).collect());
        ids
    }

    /// The line of a node or constant of the graph.
    fn line_of(&self, place: Option<&str>, ids: &BTreeMap<u32, NodeId>) -> usize {
        let node = self
            .nodes
            .iter()
            .find(|(_, node)| Some(&*ids[&node.id].to_string()) == place);
        let konst = || {
            let mut consts = self.consts.values().zip(0..);
            consts
                .find(|(_, index)| Some(&*ConstId(*index).to_string()) == place)
                .map(|((line, _), _)| *line)
        };
        node.map(|(line, _)| *line).or_else(konst).unwrap_or(1)
    }
}

fn twice(id: &str) -> Problem {
    Problem::new(
        1,
        "id-unique",
        format!("{id} stands before another line already"),
    )
}

/// The constants that a source is derived from.
fn sources_mut(source: &mut Source) -> &mut [ConstId] {
    match source {
        Source::Bytes(_) | Source::Synthetic(_) | Source::Absent => &mut [],
        Source::Derived(derivation) => match derivation {
            Derivation::Transpose { of, .. }
            | Derivation::Reshape { of }
            | Derivation::Expand { of }
            | Derivation::Slice { of, .. }
            | Derivation::Quantize { of }
            | Derivation::Dequantize { of }
            | Derivation::Rest { of, .. }
            | Derivation::Scale { of, .. } => std::slice::from_mut(of),
            Derivation::Concat { of, .. } => of,
            Derivation::Scaled { of } | Derivation::ScaleEach { of, .. } => of,
        },
    }
}
