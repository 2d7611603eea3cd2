//! Which key each score belongs to, and what rows see altogether.

use indexmap::IndexSet;
use packwright_ir::op::Matmul;
use packwright_ir::{Graph, NodeId, Op, Value};

use super::trace::{HIDDEN, Mark, Trace, Tracer};

/// A score that its row does not see.
pub const UNSEEN: u32 = u32::MAX;

/// The scores that a softmax reads, element by element.
#[derive(Debug)]
pub struct Scores {
    /// The leaves that q and k come from: rows that hold heads side by side.
    pub q: usize,
    pub k: usize,
    /// The leaf that is added to the scores: an element for each key.
    pub mask: Option<usize>,
    pub heads: usize,
    pub kv_heads: usize,
    pub s: usize,
    pub t: usize,
    /// `query · heads + head` of each row of the softmax.
    pub rows: Vec<u32>,
    /// The key of each score, or [`UNSEEN`].
    pub keys: Vec<u32>,
    /// Scores of a row.
    pub columns: usize,
}

/// One factor of a product, in rows along the axis that is summed over or that is kept.
pub struct Factor {
    /// Leaf and index of the first element of each row whose elements are neighbours in one leaf.
    pub rows: Vec<Option<(usize, usize)>>,
    pub width: usize,
}

impl Factor {
    /// Traces a factor of a product; `turned` exchanges its last axes, `batch` is the product's.
    pub fn of(
        tracer: &mut Tracer<'_>,
        value: Value,
        turned: bool,
        batch: &[usize],
    ) -> Option<Self> {
        let mut trace = tracer.trace(value)?;
        if turned {
            let rank = trace.shape().len();
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 1, rank - 2);
            trace = trace.moved(&Op::Transpose { perm })?;
        }
        let matrix = trace.shape().len() - 2;
        let shape = [batch, &trace.shape()[matrix..]].concat();
        if trace.shape() != shape {
            trace = trace.moved(&Op::Expand {
                shape: shape.clone(),
            })?;
        }
        let width = *shape.last()?;
        Some(Self {
            rows: neighbours(&trace, width),
            width,
        })
    }

    /// Row and head of a row of the factor within its leaf.
    pub fn place(&self, graph: &Graph, leaf: Value, first: usize) -> Option<(usize, usize)> {
        let columns = graph.ty(leaf).columns();
        let within = first % columns;
        within
            .is_multiple_of(self.width)
            .then_some((first / columns, within / self.width))
    }
}

/// Rows of a trace whose marks are neighbours in one leaf.
fn neighbours(trace: &Trace, width: usize) -> Vec<Option<(usize, usize)>> {
    let mut rows = Vec::new();
    let mut marks = trace.marks();
    while let Some(first) = marks.next() {
        let mut row = match first {
            Mark::Element { leaf, index } => Some((leaf, index)),
            Mark::Number(_) => None,
        };
        for step in 1..width {
            let expected = row.map(|(leaf, index)| Mark::Element {
                leaf,
                index: index + step,
            });
            if marks.next() != expected {
                row = None;
            }
        }
        rows.push(row);
    }
    rows
}

/// A product of queries and keys.
struct Product {
    leaf: usize,
    a: Factor,
    b: Factor,
    /// Rows and columns of one batch element.
    size: [usize; 2],
}

impl Product {
    fn of(tracer: &mut Tracer<'_>, node: NodeId) -> Option<Self> {
        let graph = tracer.graph;
        let Op::Matmul(attrs) = graph.op(node) else {
            return None;
        };
        let operands = plain_operands(graph, node, attrs)?;
        let shape = graph.types(node)[0].shape.clone();
        let [batch @ .., rows, columns] = &shape[..] else {
            return None;
        };
        Some(Self {
            a: Factor::of(tracer, operands[0], false, batch)?,
            b: Factor::of(tracer, operands[1], !attrs.transpose_b, batch)?,
            size: [*rows, *columns],
            leaf: tracer.leaves.get_index_of(&Value::from(node))?,
        })
    }
}

/// The two factors of a product without epilogue.
pub fn plain_operands(graph: &Graph, node: NodeId, attrs: &Matmul) -> Option<[Value; 2]> {
    let plain = attrs.alpha == 1.0 && attrs.activation.is_none();
    match graph.operands(node)[..] {
        [a, b] if plain => Some([a, b]),
        _ => None,
    }
}

impl Scores {
    /// Finds the keys of all scores; `products` are the products that they come from.
    pub fn of(tracer: &mut Tracer<'_>, scores: Value, products: &IndexSet<NodeId>) -> Option<Self> {
        let graph = tracer.graph;
        let terms = tracer.terms(scores, products)?;
        let products = products
            .iter()
            .map(|&node| Product::of(tracer, node))
            .collect::<Option<Vec<_>>>()?;
        let columns = graph.ty(scores).columns();
        let mut reading = Reading::new(tracer, &products)?;
        let rows = graph.ty(scores).rows();
        let mut found = Self {
            q: reading.q,
            k: reading.k,
            mask: None,
            heads: reading.heads,
            kv_heads: reading.kv_heads,
            s: reading.s,
            t: reading.t,
            rows: vec![UNSEEN; rows],
            keys: vec![UNSEEN; rows * columns],
            columns,
        };
        for element in 0..rows * columns {
            let marks = terms.iter().map(|term| term.at(element));
            let Some((row, key)) = reading.score(marks)? else {
                continue;
            };
            let own = &mut found.rows[element / columns];
            if *own != UNSEEN && *own != row {
                return None;
            }
            *own = row;
            found.keys[element] = key;
        }
        found.mask = reading.mask()?;
        found.is_complete().then_some(found)
    }

    /// Whether each query and head has one row, and no row sees a key twice.
    fn is_complete(&self) -> bool {
        let mut present = vec![false; self.s * self.heads];
        for &row in &self.rows {
            match present.get_mut(row as usize) {
                Some(present) if !*present => *present = true,
                _ => return false,
            }
        }
        let mut last = vec![usize::MAX; self.t];
        let rows = self.keys.chunks_exact(self.columns).enumerate();
        present.iter().all(|&present| present)
            && rows.into_iter().all(|(row, keys)| {
                keys.iter()
                    .filter(|&&key| key != UNSEEN)
                    .all(|&key| std::mem::replace(&mut last[key as usize], row) != row)
            })
    }

    /// What the rows of one head see, `[s, t]`; `None` where heads differ.
    pub fn visible(&self) -> Option<Vec<bool>> {
        let size = self.s * self.t;
        let mut first: Option<Vec<bool>> = None;
        for head in 0..self.heads {
            let mut visible = vec![false; size];
            for (row, keys) in self.rows.iter().zip(self.keys.chunks_exact(self.columns)) {
                let (query, of) = (*row as usize / self.heads, *row as usize % self.heads);
                if of != head {
                    continue;
                }
                for &key in keys.iter().filter(|&&key| key != UNSEEN) {
                    visible[query * self.t + key as usize] = true;
                }
            }
            match &first {
                None => first = Some(visible),
                Some(first) if *first == visible => {}
                Some(_) => return None,
            }
        }
        first
    }
}

/// What reads marks of scores.
struct Reading<'a> {
    graph: &'a Graph,
    leaves: Vec<Value>,
    numbers: Vec<f64>,
    products: &'a [Product],
    /// The product that a leaf is.
    product_of: Vec<Option<usize>>,
    q: usize,
    k: usize,
    heads: usize,
    kv_heads: usize,
    s: usize,
    t: usize,
    /// What is added to the scores of each key, once it is known.
    added: Vec<Option<Option<(usize, usize)>>>,
}

impl<'a> Reading<'a> {
    fn new(tracer: &Tracer<'a>, products: &'a [Product]) -> Option<Self> {
        let graph = tracer.graph;
        let first = products.first()?;
        let leaf_of = |factor: &Factor| factor.rows.iter().flatten().next().map(|row| row.0);
        let (q, k) = (leaf_of(&first.a)?, leaf_of(&first.b)?);
        let leaves: Vec<Value> = tracer.leaves.iter().copied().collect();
        let heads = |leaf: usize| {
            let columns = graph.ty(leaves[leaf]).columns();
            columns
                .is_multiple_of(first.a.width)
                .then(|| columns / first.a.width)
        };
        let (heads, kv_heads) = (heads(q)?, heads(k)?);
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return None;
        }
        let mut product_of = vec![None; leaves.len()];
        for (index, product) in products.iter().enumerate() {
            product_of[product.leaf] = Some(index);
        }
        let t = graph.ty(leaves[k]).rows();
        Some(Self {
            graph,
            numbers: tracer.all_numbers(),
            products,
            product_of,
            heads,
            kv_heads,
            s: graph.ty(leaves[q]).rows(),
            t,
            q,
            k,
            leaves,
            added: vec![None; t],
        })
    }

    /// Row and key of a score; nothing inside where the row does not see it, and nothing at all where the
    /// score is none.
    fn score(&mut self, marks: impl Iterator<Item = Mark>) -> Option<Option<(u32, u32)>> {
        let mut number = 0.0;
        let (mut product, mut added) = (None, None);
        for mark in marks {
            match mark {
                Mark::Number(position) => number += self.numbers[position],
                Mark::Element { leaf, index } => match self.product_of[leaf] {
                    Some(of) if product.is_none() => product = Some((of, index)),
                    None if added.is_none() => added = Some((leaf, index)),
                    _ => return None,
                },
            }
        }
        if number <= HIDDEN {
            return Some(None);
        }
        if number != 0.0 {
            return None;
        }
        let (product, index) = product?;
        let (row, key) = self.pair(&self.products[product], index)?;
        if *self.added[key].get_or_insert(added) != added {
            return None;
        }
        Some(Some((row as u32, key as u32)))
    }

    /// The row (`query · heads + head`) and the key of an element of a product.
    fn pair(&self, product: &Product, index: usize) -> Option<(usize, usize)> {
        let [rows, columns] = product.size;
        let (matrix, within) = (index / (rows * columns), index % (rows * columns));
        let (q_leaf, q) = product.a.rows[matrix * rows + within / columns]?;
        let (k_leaf, k) = product.b.rows[matrix * columns + within % columns]?;
        if [q_leaf, k_leaf] != [self.q, self.k] {
            return None;
        }
        let (query, head) = product.a.place(self.graph, self.leaves[q_leaf], q)?;
        let (key, kv_head) = product.b.place(self.graph, self.leaves[k_leaf], k)?;
        let shared = self.heads / self.kv_heads;
        (head / shared == kv_head).then_some((query * self.heads + head, key))
    }

    /// The leaf whose elements are added to the scores, one for each key in order.
    fn mask(&self) -> Option<Option<usize>> {
        let leaf = match self.added.first()? {
            Some(Some((leaf, _))) => *leaf,
            _ => {
                let none = self
                    .added
                    .iter()
                    .all(|added| matches!(added, Some(None) | None));
                return none.then_some(None);
            }
        };
        let in_order = self
            .added
            .iter()
            .enumerate()
            .all(|(key, added)| *added == Some(Some((leaf, key))));
        let whole = self.graph.ty(self.leaves[leaf]).elements() == self.t;
        (in_order && whole).then_some(Some(leaf))
    }
}
