//! Whether products of probabilities and values sum, for each row, the values of the keys that it sees.

use indexmap::IndexSet;
use packwright_ir::{NodeId, Value};

use super::product::{Factor, Product};
use super::rows::axes;
use super::scores::{Scores, UNSEEN};
use super::trace::{Mark, Trace, Tracer};

/// What the sums are made of.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    /// The leaf that v comes from.
    pub v: usize,
    pub width: usize,
    /// The order of batch, query and head in the rows of the result, outermost first.
    pub axes: [usize; 3],
}

/// A product of probabilities and values.
struct Sums {
    product: Product,
    probabilities: Trace,
    values: Factor,
    /// Length of the sums.
    inner: usize,
}

impl Sums {
    fn of(tracer: &mut Tracer<'_>, node: NodeId) -> Option<Self> {
        let product = Product::of(tracer, node)?;
        let [a, b] = product.operands;
        let probabilities = tracer.trace(a)?;
        let inner = tracer.graph.ty(a).columns();
        if probabilities.shape()[..probabilities.shape().len() - 2] != product.batch {
            return None;
        }
        Some(Self {
            probabilities,
            values: Factor::of(tracer, b, product.transpose_b, &product.batch)?,
            inner,
            product,
        })
    }
}

impl Values {
    /// Checks every row of a result against the keys of the scores.
    pub fn of(
        tracer: &mut Tracer<'_>,
        result: Value,
        products: &IndexSet<NodeId>,
        probabilities: Value,
        scores: &Scores,
    ) -> Option<Self> {
        let graph = tracer.graph;
        let terms = tracer.terms(result, products)?;
        let products = products
            .iter()
            .map(|&node| Sums::of(tracer, node))
            .collect::<Option<Vec<_>>>()?;
        let width = graph.ty(result).columns();
        let reading = Reading {
            tracer,
            products: &products,
            terms: &terms,
            probabilities: tracer.leaves.get_index_of(&probabilities)?,
            scores,
            width,
        };
        let mut v = None;
        let mut used = vec![false; scores.keys.len()];
        let order = (0..graph.ty(result).rows())
            .map(|row| reading.row(row, &mut v, &mut used))
            .collect::<Option<Vec<_>>>()?;
        let complete = scores
            .keys
            .iter()
            .zip(&used)
            .all(|(&key, &used)| key == UNSEEN || used);
        Some(Self {
            v: v.filter(|_| complete)?,
            width,
            axes: axes(&order, [scores.order.batch, scores.s, scores.heads])?,
        })
    }
}

struct Reading<'a, 'g> {
    tracer: &'a Tracer<'g>,
    products: &'a [Sums],
    terms: &'a [Trace],
    /// The leaf of the probabilities.
    probabilities: usize,
    scores: &'a Scores,
    width: usize,
}

impl Reading<'_, '_> {
    /// The query and head of a row of the result; `None` where it is no sum over the keys that it sees.
    fn row(&self, row: usize, v: &mut Option<usize>, used: &mut [bool]) -> Option<usize> {
        let mut of = None;
        for term in self.terms {
            let Some((product, matrix, x)) = self.product_row(term, row)? else {
                continue;
            };
            let own = self.sum(product, matrix, x, v, used)?;
            if *of.get_or_insert(own) != own {
                return None;
            }
        }
        Some(self.scores.rows[of?] as usize)
    }

    /// The row of a product that a term of a row is; nothing inside where it is zero.
    fn product_row(&self, term: &Trace, row: usize) -> Option<Option<(&Sums, usize, usize)>> {
        let first = row * self.width;
        let (leaf, index) = match term.at(first) {
            Mark::Element { leaf, index } => (leaf, index),
            Mark::Number(_) => {
                let zero = |mark| matches!(mark, Mark::Number(n) if self.tracer.number(n) == 0.0);
                let zeros = (first..first + self.width).all(|i| zero(term.at(i)));
                return zeros.then_some(None);
            }
        };
        let product = self
            .products
            .iter()
            .find(|sums| sums.product.leaf == leaf)?;
        let [rows, columns] = product.product.size;
        let whole = columns == self.width && index.is_multiple_of(columns);
        let same = (0..self.width).all(|d| {
            let index = index + d;
            term.at(first + d) == Mark::Element { leaf, index }
        });
        let place = (product, index / columns / rows, index / columns % rows);
        (whole && same).then_some(Some(place))
    }

    /// The softmax row whose values a row of a product sums.
    fn sum(
        &self,
        product: &Sums,
        matrix: usize,
        x: usize,
        v: &mut Option<usize>,
        used: &mut [bool],
    ) -> Option<usize> {
        let mut own = None;
        let first = (matrix * product.product.size[0] + x) * product.inner;
        for z in 0..product.inner {
            let element = match product.probabilities.at(first + z) {
                Mark::Number(n) if self.tracer.number(n) == 0.0 => continue,
                Mark::Element { leaf, index } if leaf == self.probabilities => index,
                _ => return None,
            };
            let row = element / self.scores.columns;
            if *own.get_or_insert(row) != row {
                return None;
            }
            let key = self.scores.keys[element];
            if key == UNSEEN {
                continue;
            }
            let (leaf, index) = product.values.rows[matrix * product.inner + z]?;
            let value = self.tracer.leaves[leaf];
            let (value_row, kv_head) = product.values.place(self.tracer.graph, value, index)?;
            let shared = self.scores.heads / self.scores.kv_heads;
            let head = self.scores.rows[row] as usize % self.scores.heads;
            let all = self.scores.order.batch * self.scores.t;
            let fits = self.tracer.graph.ty(value).rows() == all
                && self.scores.order.place(value_row, all) == key as usize
                && kv_head == head / shared
                && *v.get_or_insert(leaf) == leaf
                && !used[element];
            if !fits {
                return None;
            }
            used[element] = true;
        }
        own
    }
}
