//! `fuse-hash-sort`: rows in the order of their hashes, as LSH attention sorts them.
//!
//! A sort of bucket numbers that are digits of arg-max over rotated rows and their negatives. The
//! places in the sort key (bucket · length + place) only make it stable, which [`HashSort`] is by
//! definition. What a digit's elements are is found by their places ([`super::trace`]), so that any
//! order of reshapes and transpositions around the product matches; rounds stand side by side.

use packwright_ir::diag::Diagnostics;
use packwright_ir::eval::konst;
use packwright_ir::infer::broadcast;
use packwright_ir::konst::{Const, Source};
use packwright_ir::op::{Binary, HashSort, Unary};
use packwright_ir::order::topological;
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{Elem, Graph, NodeId, Op, Value};

use super::matching::{add, binary, either, is_known, scalar, scaled, unary, with_scalar};
use super::trace::{Unit, head_rows, trace};

/// Recognises sorting by hash.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        if let Some(found) = find(graph, node) {
            rewrite(graph, node, &found)?;
            count += 1;
        }
    }
    Ok(count)
}

/// A sort by hash in pieces.
struct Found {
    /// `[b, s, heads·width]`.
    x: Value,
    /// `[heads, width, rounds·n]`, or the last two axes exchanged.
    rotations: Value,
    transposed: bool,
    attrs: HashSort,
    rows: usize,
}

/// Sizes of a hash: buckets are `[batch, heads, rounds, rows]`.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    rounds: usize,
    rows: usize,
}

fn find(graph: &Graph, node: NodeId) -> Option<Found> {
    let Op::TopK {
        axis,
        count,
        largest: false,
    } = *graph.op(node)
    else {
        return None;
    };
    let keys = graph.operand(node, 0)?;
    let shape = &graph.ty(keys).shape;
    let whole = shape.len() == 3 && axis == 2 && count == shape[2];
    if !whole || graph.use_count(node.into()) > 0 || !is_integer(graph, keys) {
        return None;
    }
    let (buckets, spread) = match place_in_key(graph, keys) {
        Some((buckets, factor, places)) => (buckets, Some((factor, places))),
        None => (keys, None),
    };
    let flat = trace(graph, buckets, Unit::Elements)?;
    if !flat.in_order(graph, Unit::Elements) {
        return None;
    }
    let [batch, heads, rounds, rows] = graph.ty(flat.source).shape[..] else {
        return None;
    };
    let sizes = Sizes {
        batch,
        heads,
        rounds,
        rows,
    };
    if let Some((factor, places)) = spread {
        let places = values(graph, places, shape)?;
        let inside = places.iter().all(|&x| x >= 0 && (x as f64) < factor);
        let mut rounds = places.chunks_exact(rows);
        if !inside || !rounds.all(|round| round.is_sorted_by(|a, b| a < b)) {
            return None;
        }
    }
    hash(graph, flat.source, sizes)
}

/// `buckets · factor + places` with constant places.
fn place_in_key(graph: &Graph, keys: Value) -> Option<(Value, f64, Value)> {
    either(graph, keys, Binary::Add)
        .into_iter()
        .find_map(|(product, places)| {
            graph.as_const(places)?;
            let (buckets, factor) = with_scalar(graph, product, Binary::Mul)?;
            Some((buckets, factor, places))
        })
}

/// The hash whose buckets, counted through all rounds, a value is.
fn hash(graph: &Graph, sum: Value, sizes: Sizes) -> Option<Found> {
    let mut terms = Vec::new();
    flatten(graph, sum, &mut terms);
    let (constant, mut digits): (Vec<Value>, Vec<Value>) = terms
        .into_iter()
        .partition(|&term| graph.as_const(term).is_some());
    digits.sort_by(|&a, &b| digit_worth(graph, a).total_cmp(&digit_worth(graph, b)));
    let mut factors = Vec::new();
    let mut coordinates = Vec::new();
    let mut worth = 1.0;
    for digit in digits {
        if digit_worth(graph, digit) != worth {
            return None;
        }
        let (argmax, _) = with_scalar(graph, digit, Binary::Mul).unwrap_or((digit, 1.0));
        let half = rotated(graph, argmax)?;
        let factor = 2 * graph.ty(half).columns();
        factors.push(factor);
        coordinates.push(half);
        worth *= factor as f64;
    }
    offsets(graph, &constant, worth, sizes)?;
    let attrs = HashSort {
        heads: sizes.heads,
        rounds: sizes.rounds,
        factors,
    };
    product(graph, &coordinates, attrs, sizes)
}

fn flatten(graph: &Graph, value: Value, terms: &mut Vec<Value>) {
    match binary(graph, value, Binary::Add) {
        Some((a, b)) => {
            flatten(graph, a, terms);
            flatten(graph, b, terms);
        }
        None => terms.push(value),
    }
}

/// What a digit of a bucket is multiplied with.
fn digit_worth(graph: &Graph, digit: Value) -> f64 {
    with_scalar(graph, digit, Binary::Mul).map_or(1.0, |(_, factor)| factor)
}

/// The coordinates whose largest magnitude, with its sign, an arg-max finds.
fn rotated(graph: &Graph, argmax: Value) -> Option<Value> {
    let Op::ArgMax { axis, keep: false } = *graph.op(argmax.node) else {
        return None;
    };
    let both = graph.operand(argmax.node, 0)?;
    let last = graph.ty(both).rank() - 1;
    let Op::Concat { axis: joined } = *graph.op(both.node) else {
        return None;
    };
    let operands = graph.operands(both.node);
    let [plus, minus] = operands[..] else {
        return None;
    };
    let negative = unary(graph, minus, Unary::Neg)
        .or_else(|| scaled(graph, minus).and_then(|(x, factor)| (factor == -1.0).then_some(x)));
    (axis == last && joined == last && negative == Some(plus)).then_some(plus)
}

/// Each round has buckets of its own.
fn offsets(graph: &Graph, constant: &[Value], buckets: f64, sizes: Sizes) -> Option<()> {
    let shape = [sizes.batch, sizes.heads, sizes.rounds, sizes.rows];
    let mut sum = vec![0i64; shape.iter().product()];
    for &value in constant {
        let values = values(graph, value, &shape)?;
        sum.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
    }
    let right = sum.iter().enumerate().all(|(i, &offset)| {
        let round = i / sizes.rows % sizes.rounds;
        offset as f64 == round as f64 * buckets
    });
    right.then_some(())
}

/// The product of rows and rotations that all coordinates are parts of.
fn product(graph: &Graph, coordinates: &[Value], attrs: HashSort, sizes: Sizes) -> Option<Found> {
    let n = attrs.coordinates();
    let mut first = 0;
    let mut source = None;
    for &part in coordinates {
        let found = trace(graph, part, Unit::Elements)?;
        if source.is_some_and(|source| source != found.source) {
            return None;
        }
        let rank = graph.ty(found.source).rank();
        let width = graph.ty(part).columns();
        let right = found.index.iter().enumerate().all(|(i, &at)| {
            let (place, j) = (i / width, first + i % width);
            let (row, round) = (place % sizes.rows, place / sizes.rows % sizes.rounds);
            let head = place / sizes.rows / sizes.rounds;
            let line = line_of(sizes, rank, (head / sizes.heads, head % sizes.heads, row));
            at == line * sizes.rounds * n + round * n + j
        });
        if !right {
            return None;
        }
        source = Some(found.source);
        first += width;
    }
    let source = source?;
    let Op::Matmul(matmul) = graph.op(source.node) else {
        return None;
    };
    let operands = graph.operands(source.node);
    let [a, rotations] = operands[..] else {
        return None;
    };
    let plain = !matmul.bias && matmul.activation.is_none() && matmul.alpha == 1.0;
    let constant = graph.as_const(rotations).is_some() && graph.ty(rotations).rank() == 3;
    if !plain || !constant || graph.ty(rotations).shape[0] != sizes.heads {
        return None;
    }
    let rank = graph.ty(source).rank();
    let rows = head_rows(graph, a, sizes.heads)?;
    let heads = (0..sizes.batch).flat_map(|b| (0..sizes.heads).map(move |h| (b, h)));
    let right = rows.scale == 1.0
        && rows.norm.is_none()
        && heads
            .flat_map(|(b, h)| (0..sizes.rows).map(move |row| (b, h, row)))
            .all(|(b, h, row)| {
                rows.index.get(line_of(sizes, rank, (b, h, row)))
                    == Some(&((b * sizes.rows + row) * sizes.heads + h))
            });
    right.then_some(Found {
        x: rows.rows,
        rotations,
        transposed: matmul.transpose_b,
        attrs,
        rows: sizes.rows,
    })
}

/// The row of a product for a row of a head: `[heads, b·s, …]` or `[b, heads, s, …]`.
fn line_of(sizes: Sizes, rank: usize, (b, h, row): (usize, usize, usize)) -> usize {
    match rank {
        3 => (h * sizes.batch + b) * sizes.rows + row,
        _ => (b * sizes.heads + h) * sizes.rows + row,
    }
}

fn rewrite(graph: &mut Graph, sort: NodeId, found: &Found) -> Result<(), Diagnostics> {
    let origin = graph.origin_of(sort);
    let index = Value {
        node: sort,
        slot: 1,
    };
    let mut lines = found.rotations;
    if !found.transposed {
        let perm = vec![0, 2, 1];
        lines = add(graph, Op::Transpose { perm }, &[lines], origin)?;
    }
    let [heads, count, width] = graph.ty(lines).shape[..] else {
        return Ok(());
    };
    let shape = vec![heads * count, width];
    lines = add(graph, Op::Reshape { shape }, &[lines], origin)?;
    let attrs = found.attrs.clone();
    let rounds = attrs.rounds;
    let order = add(graph, Op::HashSort(attrs), &[found.x, lines], origin)?;
    let places = add(graph, Op::Cast { to: Elem::I64 }, &[order], origin)?;
    for (user, _) in graph.users(index) {
        let by = binary(graph, user.into(), Binary::Mod).and_then(|(_, n)| scalar(graph, n));
        if by == Some(found.rows as f64) {
            graph.replace_uses(user.into(), places);
        }
    }
    let mut sorted = places;
    if rounds > 1 {
        let starts: Vec<i64> = (0..rounds * found.rows)
            .map(|i| (i / found.rows * found.rows) as i64)
            .collect();
        let starts = Tensor::i64(&[1, 1, starts.len()], starts);
        let id = graph.add_const(Const {
            name: "rounds".to_owned(),
            ty: starts.ty(),
            source: Source::Bytes(starts.to_le_bytes().into()),
        });
        let starts = graph.const_value(id);
        sorted = add(graph, Op::Binary(Binary::Add), &[places, starts], origin)?;
    }
    graph.replace_uses(index, sorted);
    Ok(())
}

fn is_integer(graph: &Graph, value: Value) -> bool {
    matches!(graph.ty(value).elem, Elem::I32 | Elem::I64)
}

/// The integers of a known constant, repeated to a shape.
pub(super) fn values(graph: &Graph, value: Value, shape: &[usize]) -> Option<Vec<i64>> {
    let id = graph.as_const(value)?;
    let ty = &graph.konst(id).ty;
    if !is_known(graph, id) || broadcast(&ty.shape, shape).as_deref() != Some(shape) {
        return None;
    }
    let tensor = konst::value(graph, id).ok()?;
    let wide = packwright_ir::eval::eval_op(
        &Op::Expand {
            shape: shape.to_vec(),
        },
        &[&tensor],
    )
    .ok()?
    .pop()?;
    Some(match wide.data {
        Data::I64(a) => a.iter().copied().collect(),
        Data::I32(a) => a.iter().map(|&x| i64::from(x)).collect(),
        Data::Bool(a) => a.iter().map(|&x| i64::from(x)).collect(),
        _ => return None,
    })
}
