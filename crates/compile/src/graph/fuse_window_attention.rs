//! `fuse-window-attention`: attention whose scores are cut out of products of chunks.
//!
//! What it does: recognises softmax attention of which each row sees a window of columns, and some global
//! columns, however the scores were cut, padded, turned and masked on their way into the softmax.
//!
//! Why: exporters write a window as products of overlapping chunks whose diagonals are reshaped to columns,
//! hundreds of nodes that no machine should carry out.
//!
//! How: the elements of the softmax's operand are traced to the products that they come from, hence each
//! score to a row of q and a row of k; the elements of the result are traced to probabilities and rows of v.
//! If every row sums the values of exactly the keys that it scored, and what rows see is a window and global
//! columns, the nodes between are one attention.
//!
//! Requires: sequences of a batch that see the same, additive masks that depend on the key alone, guards that zero
//! whole rows. Leaves everything else as it is.

mod product;
mod rows;
mod scores;
mod sight;
mod signature;
pub(super) mod trace;
mod values;

use indexmap::{IndexMap, IndexSet};
use packwright_ir::diag::Diagnostics;
use packwright_ir::konst::{Const, Source};
use packwright_ir::op::{Attention, Binary, Unary};
use packwright_ir::order::topological;
use packwright_ir::{Elem, Graph, NodeId, Op, Type, Value};

use self::rows::Order;
use self::scores::Scores;
use self::signature::signature;
use self::trace::{Mark, Tracer, leads_to, sources};
use self::values::Values;
use super::matching::{add, binary, scalar, scaled};

/// Most scores of one softmax that are traced.
const MOST_SCORES: usize = 1 << 28;

/// Recognises attention with windows.
///
/// # Errors
/// Shape rules that a result breaks.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    let mut known = IndexMap::new();
    for node in topological(graph) {
        if let Some((result, found)) = find(graph, node, &mut known) {
            rewrite(graph, result, found)?;
            count += 1;
        }
    }
    Ok(count)
}

/// The nodes around a softmax.
struct Cone {
    scores: Value,
    /// The products that the scores come from.
    score_products: IndexSet<NodeId>,
    /// The softmax, or what zeroes some of its rows.
    probabilities: Value,
    /// The condition under which a row is zeroed.
    guard: Option<Value>,
    /// The products that read probabilities.
    value_products: IndexSet<NodeId>,
    /// Their sum.
    result: Value,
}

/// An attention in pieces: of one structure, with numbers of leaves, or in a graph, with values.
struct Found<T> {
    q: T,
    k: T,
    v: T,
    mask: Option<T>,
    /// The condition under which the row of a query is zeroed.
    guard: Option<T>,
    attrs: Attention,
    width: usize,
    order: Order,
    /// The order of batch, query and head in the rows of the result, outermost first.
    axes: [usize; 3],
}

/// What was found for a structure.
type Known = IndexMap<String, Option<Found<usize>>>;

/// Looks for an attention around a softmax: its result, and its pieces.
fn find(graph: &Graph, node: NodeId, known: &mut Known) -> Option<(Value, Found<Value>)> {
    let cone = cone(graph, node)?;
    let signature = signature(graph, &cone);
    let found = known.entry(signature.text).or_insert_with(|| {
        let number = |value: Value| signature.leaves.get_index_of(&value);
        trace(graph, &cone)?.with(number)
    });
    let value = |leaf: usize| signature.leaves.get_index(leaf).copied();
    Some((cone.result, found.as_ref()?.with(value)?))
}

impl<T: Copy> Found<T> {
    /// The same attention with its pieces named in another way.
    fn with<U>(&self, name: impl Fn(T) -> Option<U>) -> Option<Found<U>> {
        let optional = |piece: Option<T>| match piece {
            None => Some(None),
            Some(piece) => name(piece).map(Some),
        };
        Some(Found {
            q: name(self.q)?,
            k: name(self.k)?,
            v: name(self.v)?,
            mask: optional(self.mask)?,
            guard: optional(self.guard)?,
            attrs: self.attrs.clone(),
            width: self.width,
            order: self.order,
            axes: self.axes,
        })
    }
}

/// Traces every score and every sum.
fn trace(graph: &Graph, cone: &Cone) -> Option<Found<Value>> {
    let mut tracer = Tracer::new(graph);
    let scores = Scores::of(&mut tracer, cone.scores, &cone.score_products)?;
    tracer.forget();
    let orders = Order::of(&graph.ty(tracer.leaves[scores.q]).shape);
    let (scores, seen) = orders.into_iter().find_map(|order| {
        let scores = scores.ordered(graph, &tracer.leaves, order)?;
        let seen = sight::sight(&scores.visible()?, [scores.s, scores.t])?;
        Some((scores, seen))
    })?;
    let values = Values::of(
        &mut tracer,
        cone.result,
        &cone.value_products,
        cone.probabilities,
        &scores,
    )?;
    let guard = match cone.guard {
        Some(condition) => Some(guard(&mut tracer, condition, cone, &scores)?),
        None => None,
    };
    let leaf = |leaf: usize| tracer.leaves[leaf];
    Some(Found {
        q: leaf(scores.q),
        k: leaf(scores.k),
        v: leaf(values.v),
        mask: scores.mask.map(leaf),
        guard,
        attrs: Attention {
            heads: scores.heads,
            kv_heads: scores.kv_heads,
            mask: scores.mask.is_some(),
            row_mask: guard.is_some(),
            ..seen
        },
        width: values.width,
        order: scores.order,
        axes: values.axes,
    })
}

fn cone(graph: &Graph, node: NodeId) -> Option<Cone> {
    let Op::Softmax { axis } = *graph.op(node) else {
        return None;
    };
    let ty = &graph.types(node)[0];
    if axis + 1 != ty.rank() || ty.elements() > MOST_SCORES {
        return None;
    }
    let scores = graph.operand(node, 0)?;
    let score_products = products_before(graph, scores)?;
    let (probabilities, guard) = guarded(graph, node.into());
    let value_products = products_behind(graph, probabilities)?;
    let result = joined(graph, &value_products)?;
    Some(Cone {
        scores,
        score_products,
        probabilities,
        guard,
        value_products,
        result,
    })
}

/// Whether a node is a product of two values that are computed.
fn is_product(graph: &Graph, node: NodeId) -> bool {
    let Op::Matmul(attrs) = graph.op(node) else {
        return false;
    };
    let computed = graph.operands(node)[..2]
        .iter()
        .all(|&v| graph.as_const(v).is_none());
    computed && !attrs.bias && !attrs.residual && sources(graph, node).is_none()
}

/// The products that scores come from, through moves and sums; none where there are none.
fn products_before(graph: &Graph, scores: Value) -> Option<IndexSet<NodeId>> {
    let mut seen = IndexSet::from([scores]);
    let mut products = IndexSet::new();
    let mut next = 0;
    while let Some(&value) = seen.get_index(next) {
        next += 1;
        if is_product(graph, value.node) {
            products.insert(value.node);
            continue;
        }
        match binary(graph, value, Binary::Add) {
            Some((a, b)) => seen.extend([a, b]),
            None => seen.extend(sources(graph, value.node).unwrap_or_default()),
        }
    }
    (!products.is_empty()).then_some(products)
}

/// Probabilities behind the nodes that zero rows, and the condition of those.
fn guarded(graph: &Graph, softmax: Value) -> (Value, Option<Value>) {
    let (mut value, mut guard) = (softmax, None);
    loop {
        let next = graph.users(value).into_iter().find_map(|(user, _)| {
            let operands = graph.operands(user);
            let [condition, zero, inner] = operands[..] else {
                return None;
            };
            let zeroes =
                *graph.op(user) == Op::Where && inner == value && scalar(graph, zero) == Some(0.0);
            zeroes.then_some((Value::from(user), condition))
        });
        let Some((outer, condition)) = next else {
            return (value, guard);
        };
        // The machine's softmax makes rows that see nothing zero itself.
        let safe = *graph.op(condition.node) == Op::Unary(Unary::IsNan);
        if !safe {
            if guard.is_some() {
                return (value, guard);
            }
            guard = Some(condition);
        }
        value = outer;
    }
}

/// The products whose first factor probabilities are, through moves; none where something else reads them.
fn products_behind(graph: &Graph, probabilities: Value) -> Option<IndexSet<NodeId>> {
    let mut seen = IndexSet::from([probabilities]);
    let mut products = IndexSet::new();
    let mut next = 0;
    while let Some(&value) = seen.get_index(next) {
        next += 1;
        if graph.is_output(value) {
            return None;
        }
        for (user, position) in graph.users(value) {
            if is_product(graph, user) && position == 0 {
                products.insert(user);
            } else if sources(graph, user).is_some_and(|sources| sources.contains(&value)) {
                seen.insert(user.into());
            } else {
                return None;
            }
        }
    }
    products.sort_unstable();
    (!products.is_empty()).then_some(products)
}

/// The sum of all products: a product alone, or the first sum that takes in all of them and nothing else.
fn joined(graph: &Graph, products: &IndexSet<NodeId>) -> Option<Value> {
    if let [product] = products.as_slice().iter().collect::<Vec<_>>()[..] {
        return Some((*product).into());
    }
    let mut behind: IndexSet<Value> = products.iter().map(|&node| node.into()).collect();
    let mut next = 0;
    while let Some(&value) = behind.get_index(next) {
        next += 1;
        for (user, _) in graph.users(value) {
            let sum = binary(graph, user.into(), Binary::Add);
            if let Some((a, b)) = sum {
                let all = products.iter().all(|&product| {
                    let wanted = IndexSet::from([product]);
                    leads_to(graph, a, &wanted) || leads_to(graph, b, &wanted)
                });
                if all {
                    return Some(user.into());
                }
                behind.insert(user.into());
            } else if sources(graph, user).is_some() {
                behind.insert(user.into());
            }
        }
    }
    None
}

/// The condition under which the rows of a query are zeroed, an element for each query.
fn guard(tracer: &mut Tracer<'_>, condition: Value, cone: &Cone, scores: &Scores) -> Option<Value> {
    let graph = tracer.graph;
    let mut shape = graph.ty(cone.scores).shape.clone();
    *shape.last_mut()? = 1;
    let marks = tracer.trace(condition)?.moved(&Op::Expand { shape })?;
    let leaf = match marks.at(0) {
        Mark::Element { leaf, .. } => leaf,
        Mark::Number(_) => return None,
    };
    let by_query = marks.marks().zip(&scores.rows).all(|(mark, &row)| {
        let index = row as usize / scores.heads;
        mark == Mark::Element { leaf, index }
    });
    let value = tracer.leaves[leaf];
    let queries = scores.order.batch * scores.s;
    (by_query && graph.ty(value).elements() == queries).then_some(value)
}

/// A factor without the numbers that it is multiplied with.
fn unscaled(graph: &Graph, value: Value) -> (Value, f64) {
    let (mut value, mut factor) = (value, 1.0);
    while let Some((x, number)) = scaled(graph, value) {
        (value, factor) = (x, factor * number);
    }
    (value, factor)
}

fn rewrite(graph: &mut Graph, result: Value, found: Found<Value>) -> Result<(), Diagnostics> {
    let origin = graph.origin_of(result.node);
    let (q, factor) = unscaled(graph, found.q);
    let (k, k_factor) = unscaled(graph, found.k);
    let attrs = Attention {
        scale: (factor * k_factor) as f32,
        ..found.attrs
    };
    let mut operands = Vec::new();
    for value in [q, k, found.v] {
        operands.push(found.order.sequences(graph, value, origin)?);
    }
    let batch = found.order.batch;
    let (s, t) = (
        graph.ty(operands[0]).shape[1],
        graph.ty(operands[1]).shape[1],
    );
    if let Some(mask) = found.mask {
        let shape = vec![graph.ty(mask).elements() / t, 1, 1, t];
        operands.push(add(graph, Op::Reshape { shape }, &[mask], origin)?);
    }
    if let Some(condition) = found.guard {
        let shape = vec![batch, 1, s, 1];
        let condition = add(graph, Op::Reshape { shape }, &[condition], origin)?;
        let (hidden, shown) = (number(graph, f32::NEG_INFINITY), number(graph, 0.0));
        operands.push(add(graph, Op::Where, &[condition, hidden, shown], origin)?);
    }
    let heads = attrs.heads;
    let mut value = add(graph, Op::Attention(attrs), &operands, origin)?;
    if found.axes != [0, 1, 2] {
        let shape = vec![batch, s, heads, found.width];
        value = add(graph, Op::Reshape { shape }, &[value], origin)?;
        let perm = found.axes.into_iter().chain([3]).collect();
        value = add(graph, Op::Transpose { perm }, &[value], origin)?;
    }
    let shape = graph.ty(result).shape.clone();
    let value = add(graph, Op::Reshape { shape }, &[value], origin)?;
    graph.replace_uses(result, value);
    Ok(())
}

/// A number as a constant.
fn number(graph: &mut Graph, number: f32) -> Value {
    let id = graph.add_const(Const {
        name: format!("{number}"),
        ty: Type::new(Elem::F32, Vec::new()),
        source: Source::Bytes(number.to_le_bytes().to_vec().into()),
    });
    graph.const_value(id)
}
