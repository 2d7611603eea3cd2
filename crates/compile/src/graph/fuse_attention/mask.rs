//! Masks of an attention: patterns of rows and columns become attributes, the rest is added.
//!
//! A mask is taken apart into sums and conditions. A condition that follows from positions alone and
//! hides what lies ahead (causal) or far away (a window) needs no matrix of numbers: attention knows
//! which row and column it is at. What is left, a row of padding say, keeps its small shape.

use indexmap::IndexMap;
use packwright_ir::diag::Diagnostics;
use packwright_ir::eval;
use packwright_ir::eval::konst;
use packwright_ir::konst::{Const, Source};
use packwright_ir::op::{Binary, Unary};
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{Elem, Graph, Op, OriginId, Type, Value};

use crate::graph::matching::{add, binary, is_known, scalar, unary};

/// The largest number that hides a score when it is added.
pub(super) const HIDDEN: f64 = -1e4;

/// Elements of the largest condition that is looked at.
const LARGEST: usize = 1 << 26;

/// What is done to scores.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mask {
    /// Added to the scores.
    Added(Value),
    /// Scores become the number where the condition holds, or where it does not.
    Filled {
        condition: Value,
        holds: bool,
        number: f64,
    },
}

/// All masks of an attention.
#[derive(Debug, Default)]
pub(super) struct Combined {
    pub causal: bool,
    pub window: Option<usize>,
    /// What is added to the scores.
    pub added: Option<Value>,
}

/// Which scores a condition that follows from positions alone lets see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Band {
    causal: bool,
    window: Option<usize>,
}

/// Patterns of the conditions that were looked at: layers share them.
#[derive(Debug, Default)]
pub(super) struct Patterns(IndexMap<(Value, bool, usize, usize), Option<Band>>);

impl Patterns {
    /// Takes patterns out of the masks of an attention over `size` rows and columns, and adds up the rest.
    /// `combined` is what is known of the attention before.
    pub fn combine(
        &mut self,
        graph: &mut Graph,
        masks: &[Mask],
        mut combined: Combined,
        size: (usize, usize),
        origin: OriginId,
    ) -> Result<Combined, Diagnostics> {
        for mask in masks.iter().rev() {
            let added = match *mask {
                Mask::Added(value) => self.added(graph, value, size, &mut combined, origin)?,
                Mask::Filled {
                    condition,
                    holds,
                    number,
                } => self
                    .condition(graph, condition, holds, size, &mut combined, origin)?
                    .map(|condition| fill(graph, condition, holds, number, origin))
                    .transpose()?,
            };
            combined.added = match (combined.added, added) {
                (Some(sum), Some(added)) => {
                    Some(add(graph, Op::Binary(Binary::Add), &[sum, added], origin)?)
                }
                (sum, added) => sum.or(added),
            };
        }
        Ok(combined)
    }

    /// What is left of an added mask; the same value where nothing was taken out.
    fn added(
        &mut self,
        graph: &mut Graph,
        value: Value,
        size: (usize, usize),
        found: &mut Combined,
        origin: OriginId,
    ) -> Result<Option<Value>, Diagnostics> {
        if let Some((a, b)) = binary(graph, value, Binary::Add) {
            let left = self.added(graph, a, size, found, origin)?;
            let right = self.added(graph, b, size, found, origin)?;
            return Ok(match (left, right) {
                (Some(x), Some(y)) if (x, y) == (a, b) => Some(value),
                (Some(x), Some(y)) => Some(add(graph, Op::Binary(Binary::Add), &[x, y], origin)?),
                (left, right) => left.or(right),
            });
        }
        if scalar(graph, value) == Some(0.0) {
            return Ok(None);
        }
        if let Some(Mask::Filled {
            condition,
            holds,
            number,
        }) = filled(graph, value)
        {
            let left = self.condition(graph, condition, holds, size, found, origin)?;
            return Ok(match left {
                None => None,
                Some(left) if left == condition => Some(value),
                Some(left) => Some(fill(graph, left, holds, number, origin)?),
            });
        }
        Ok(match self.band(graph, value, false, size) {
            Some(band) => {
                take(band, found);
                None
            }
            None => Some(value),
        })
    }

    /// What is left of a condition: scores stay where it does not hold (`holds`), or where it does.
    fn condition(
        &mut self,
        graph: &mut Graph,
        condition: Value,
        holds: bool,
        size: (usize, usize),
        found: &mut Combined,
        origin: OriginId,
    ) -> Result<Option<Value>, Diagnostics> {
        if let Some(band) = self.band(graph, condition, holds, size) {
            take(band, found);
            return Ok(None);
        }
        if let Some(inner) = unary(graph, condition, Unary::Not) {
            let left = self.condition(graph, inner, !holds, size, found, origin)?;
            return Ok(match left {
                None => None,
                Some(left) if left == inner => Some(condition),
                Some(left) => Some(add(graph, Op::Unary(Unary::Not), &[left], origin)?),
            });
        }
        if let Some(inner) = over_heads(graph, condition) {
            let left = self.condition(graph, inner, holds, size, found, origin)?;
            return Ok(match left {
                None => None,
                Some(left) if left == inner => Some(condition),
                Some(left) => Some(for_all_heads(graph, left, origin)?),
            });
        }
        let join = if holds { Binary::Or } else { Binary::And };
        let Some((a, b)) = binary(graph, condition, join) else {
            return Ok(Some(condition));
        };
        let left = self.condition(graph, a, holds, size, found, origin)?;
        let right = self.condition(graph, b, holds, size, found, origin)?;
        Ok(match (left, right) {
            (Some(x), Some(y)) if (x, y) == (a, b) => Some(condition),
            (Some(x), Some(y)) => Some(add(graph, Op::Binary(join), &[x, y], origin)?),
            (left, right) => left.or(right),
        })
    }

    /// The pattern of a condition, or of numbers that hide; `holds` says that scores vanish where a
    /// condition holds.
    fn band(
        &mut self,
        graph: &Graph,
        value: Value,
        holds: bool,
        (rows, columns): (usize, usize),
    ) -> Option<Band> {
        let key = (value, holds, rows, columns);
        if let Some(&band) = self.0.get(&key) {
            return band;
        }
        let band = visible(graph, value, holds, rows, columns)
            .and_then(|visible| pattern(&visible, rows, columns));
        self.0.insert(key, band);
        band
    }
}

/// What a condition `[b, 1, s, t]` is for all heads: `[b, s, t]`.
fn over_heads(graph: &Graph, condition: Value) -> Option<Value> {
    let Op::Reshape { shape } = graph.op(condition.node) else {
        return None;
    };
    let inner = graph.operand(condition.node, 0)?;
    match (&shape[..], &graph.ty(inner).shape[..]) {
        (&[batch, 1, rows, columns], from) if *from == [batch, rows, columns] => Some(inner),
        _ => None,
    }
}

/// A condition that broadcasts to `[b, s, t]`, as one that broadcasts to `[b, heads, s, t]`.
fn for_all_heads(
    graph: &mut Graph,
    condition: Value,
    origin: OriginId,
) -> Result<Value, Diagnostics> {
    let own = graph.ty(condition).shape.clone();
    if own.len() < 3 {
        return Ok(condition);
    }
    let shape = vec![own[0], 1, own[1], own[2]];
    Ok(add(graph, Op::Reshape { shape }, &[condition], origin)?)
}

/// A choice between a score that stays and a number that hides it.
fn filled(graph: &Graph, value: Value) -> Option<Mask> {
    let Op::Where = graph.op(value.node) else {
        return None;
    };
    let operands = graph.operands(value.node);
    let [condition, yes, no] = operands[..] else {
        return None;
    };
    let (holds, number) = match (scalar(graph, yes)?, scalar(graph, no)?) {
        (0.0, number) => (false, number),
        (number, 0.0) => (true, number),
        _ => return None,
    };
    (number <= HIDDEN).then_some(Mask::Filled {
        condition,
        holds,
        number,
    })
}

/// Zero where scores stay, the number where they vanish.
fn fill(
    graph: &mut Graph,
    condition: Value,
    holds: bool,
    number: f64,
    origin: OriginId,
) -> Result<Value, Diagnostics> {
    let (number, zero) = (constant(graph, number), constant(graph, 0.0));
    let (yes, no) = if holds {
        (number, zero)
    } else {
        (zero, number)
    };
    Ok(add(graph, Op::Where, &[condition, yes, no], origin)?)
}

/// A number as a constant.
fn constant(graph: &mut Graph, number: f64) -> Value {
    let bytes = (number as f32).to_le_bytes().to_vec();
    let id = graph.add_const(Const {
        name: format!("{number}"),
        ty: Type::new(Elem::F32, Vec::new()),
        source: Source::Bytes(bytes.into()),
    });
    graph.const_value(id)
}

fn take(band: Band, found: &mut Combined) {
    found.causal |= band.causal;
    found.window = match (found.window, band.window) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
}

/// For each row and column whether the score stays, where that follows from constants alone and is the
/// same for all heads.
fn visible(
    graph: &Graph,
    value: Value,
    holds: bool,
    rows: usize,
    columns: usize,
) -> Option<Vec<bool>> {
    let shape = &graph.ty(value).shape;
    let outer = shape.len().checked_sub(2)?;
    let alike = shape[..outer].iter().all(|&n| n == 1) && shape[outer..] == [rows, columns];
    if !alike || rows * columns > LARGEST {
        return None;
    }
    match known(graph, value)?.data {
        Data::Bool(a) => Some(a.iter().map(|&x| x != holds).collect()),
        Data::F32(a) => a
            .iter()
            .map(|&x| match f64::from(x) {
                0.0 => Some(true),
                x => (x <= HIDDEN).then_some(false),
            })
            .collect(),
        _ => None,
    }
}

/// The values of what follows from known constants, however large it gets on its way.
fn known(graph: &Graph, value: Value) -> Option<Tensor> {
    if let Some(id) = graph.as_const(value) {
        return is_known(graph, id)
            .then(|| konst::value(graph, id).ok())
            .flatten();
    }
    let op = graph.op(value.node);
    let moves_or_compares = matches!(
        op,
        Op::Unary(_)
            | Op::Binary(_)
            | Op::Where
            | Op::Cast { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Expand { .. }
            | Op::Slice { .. }
            | Op::Trilu { .. }
    );
    if !moves_or_compares || graph.ty(value).elements() > LARGEST {
        return None;
    }
    let operands: Vec<Tensor> = graph
        .operands(value.node)
        .into_iter()
        .map(|v| known(graph, v))
        .collect::<Option<_>>()?;
    eval::eval_op(op, &operands.iter().collect::<Vec<_>>())
        .ok()?
        .pop()
}

/// The pattern that shows exactly these scores.
fn pattern(visible: &[bool], rows: usize, columns: usize) -> Option<Band> {
    // How far behind its own column a row sees something, and whether it is kept from looking ahead.
    let distance = |at: usize| (at / columns + columns) as isize - (rows + at % columns) as isize;
    let seen = || (0..visible.len()).filter(|&at| visible[at]).map(distance);
    let hidden = || (0..visible.len()).filter(|&at| !visible[at]).map(distance);
    let causal = hidden().any(|d| d < 0) && seen().all(|d| d >= 0);
    let furthest = seen().map(isize::unsigned_abs).max()?;
    let needs_window = hidden().any(|d| d >= 0 || !causal);
    let band = Band {
        causal,
        window: needs_window.then_some(furthest),
    };
    let shows = |d: isize| {
        (d >= 0 || !band.causal) && band.window.is_none_or(|window| d.unsigned_abs() <= window)
    };
    (0..visible.len())
        .all(|at| visible[at] == shows(distance(at)))
        .then_some(band)
}
