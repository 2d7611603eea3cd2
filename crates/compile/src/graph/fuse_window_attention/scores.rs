//! Which key each score belongs to, and what rows see altogether.

use indexmap::IndexSet;
use packwright_ir::{Graph, NodeId, Value};

use super::product::{Factor, Product};
use super::rows::Order;
use super::trace::{HIDDEN, Mark, Tracer};

/// A score that its row does not see.
pub const UNSEEN: u32 = u32::MAX;

/// The scores that a softmax reads, element by element.
#[derive(Debug)]
pub struct Scores {
    /// The leaves that q and k come from: rows that hold heads side by side.
    pub q: usize,
    pub k: usize,
    /// The leaf that is added to the scores: an element for each key, or for each key of a sequence.
    pub mask: Option<usize>,
    pub heads: usize,
    pub kv_heads: usize,
    /// How rows lie in the leaves.
    pub order: Order,
    /// Queries and keys of a sequence.
    pub s: usize,
    pub t: usize,
    /// `(batch · s + query) · heads + head` of each row of the softmax.
    pub rows: Vec<u32>,
    /// The key of each score, `batch · t + key`, or [`UNSEEN`].
    pub keys: Vec<u32>,
    /// Scores of a row.
    pub columns: usize,
    /// What is added to the scores of each key, as leaf and element, where it is known.
    added: Vec<Added>,
}

/// What is added to the scores of a key, once one of them has been read.
type Added = Option<Option<(usize, usize)>>;

/// A product of queries and keys.
struct Pairs {
    product: Product,
    a: Factor,
    b: Factor,
}

impl Pairs {
    fn of(tracer: &mut Tracer<'_>, node: NodeId) -> Option<Self> {
        let product = Product::of(tracer, node)?;
        let [a, b] = product.operands;
        Some(Self {
            a: Factor::of(tracer, a, false, &product.batch)?,
            b: Factor::of(tracer, b, !product.transpose_b, &product.batch)?,
            product,
        })
    }
}

impl Scores {
    /// Finds the keys of all scores, as of a single sequence; `products` are the products that they come from.
    pub fn of(tracer: &mut Tracer<'_>, scores: Value, products: &IndexSet<NodeId>) -> Option<Self> {
        let graph = tracer.graph;
        let terms = tracer.terms(scores, products)?;
        let products = products
            .iter()
            .map(|&node| Pairs::of(tracer, node))
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
            order: Order {
                batch: 1,
                apart: false,
            },
            s: reading.s,
            t: reading.t,
            added: Vec::new(),
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
        found.added = reading.added;
        Some(found)
    }

    /// The scores of several sequences whose rows lie in an order; none where they cannot.
    pub fn ordered(&self, graph: &Graph, leaves: &IndexSet<Value>, order: Order) -> Option<Self> {
        let Order { batch, .. } = order;
        if !self.s.is_multiple_of(batch) || !self.t.is_multiple_of(batch) {
            return None;
        }
        let heads = self.heads as u32;
        let row = |&row: &u32| match row {
            UNSEEN => UNSEEN,
            row => order.place((row / heads) as usize, self.s) as u32 * heads + row % heads,
        };
        let key = |&key: &u32| match key {
            UNSEEN => UNSEEN,
            key => order.place(key as usize, self.t) as u32,
        };
        let mut added = vec![None; self.t];
        for (key, &own) in self.added.iter().enumerate() {
            added[order.place(key, self.t)] = own;
        }
        let found = Self {
            order,
            s: self.s / batch,
            t: self.t / batch,
            rows: self.rows.iter().map(row).collect(),
            keys: self.keys.iter().map(key).collect(),
            added,
            ..*self
        };
        let mask = found.added_mask(graph, leaves)?;
        found.is_complete().then_some(Self { mask, ..found })
    }

    /// The leaf whose elements are added to the scores, one for each key in order, of all sequences or of one.
    fn added_mask(&self, graph: &Graph, leaves: &IndexSet<Value>) -> Option<Option<usize>> {
        let Some(Some((leaf, _))) = *self.added.first()? else {
            let nothing = |added: &Added| matches!(added, Some(None) | None);
            return self.added.iter().all(nothing).then_some(None);
        };
        let elements = graph.ty(*leaves.get_index(leaf)?).elements();
        let fits = elements == self.t || elements == self.added.len();
        let in_order = |(key, added): (usize, &Added)| *added == Some(Some((leaf, key % elements)));
        (fits && self.added.iter().enumerate().all(in_order)).then_some(Some(leaf))
    }

    /// Whether each query and head has one row, and no row sees a key twice.
    fn is_complete(&self) -> bool {
        let mut present = vec![false; self.order.batch * self.s * self.heads];
        for &row in &self.rows {
            match present.get_mut(row as usize) {
                Some(present) if !*present => *present = true,
                _ => return false,
            }
        }
        let mut last = vec![usize::MAX; self.order.batch * self.t];
        let rows = self.keys.chunks_exact(self.columns).enumerate();
        present.iter().all(|&present| present)
            && rows.into_iter().all(|(row, keys)| {
                keys.iter()
                    .filter(|&&key| key != UNSEEN)
                    .all(|&key| std::mem::replace(&mut last[key as usize], row) != row)
            })
    }

    /// What the rows of one head see, `[s, t]`; `None` where heads or sequences differ, or rows see other
    /// sequences.
    pub fn visible(&self) -> Option<Vec<bool>> {
        let size = self.s * self.t;
        let mut first: Option<Vec<bool>> = None;
        for place in 0..self.order.batch * self.heads {
            let (batch, head) = (place / self.heads, place % self.heads);
            let mut visible = vec![false; size];
            for (row, keys) in self.rows.iter().zip(self.keys.chunks_exact(self.columns)) {
                let (query, of) = (*row as usize / self.heads, *row as usize % self.heads);
                if of != head || query / self.s != batch {
                    continue;
                }
                for &key in keys.iter().filter(|&&key| key != UNSEEN) {
                    let key = (key as usize).checked_sub(batch * self.t)?;
                    if key >= self.t {
                        return None;
                    }
                    visible[query % self.s * self.t + key] = true;
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
    products: &'a [Pairs],
    /// The product that a leaf is.
    product_of: Vec<Option<usize>>,
    q: usize,
    k: usize,
    heads: usize,
    kv_heads: usize,
    s: usize,
    t: usize,
    /// What is added to the scores of each key, once it is known.
    added: Vec<Added>,
}

impl<'a> Reading<'a> {
    fn new(tracer: &Tracer<'a>, products: &'a [Pairs]) -> Option<Self> {
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
            product_of[product.product.leaf] = Some(index);
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
    fn pair(&self, product: &Pairs, index: usize) -> Option<(usize, usize)> {
        let [rows, columns] = product.product.size;
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
}
