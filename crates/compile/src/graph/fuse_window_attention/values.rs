//! Whether products of probabilities and values sum, for each row, the values of the keys that it sees.

use indexmap::IndexSet;
use packwright_ir::{NodeId, Op, Value};

use super::scores::{Factor, Scores, UNSEEN, plain_operands};
use super::trace::{Mark, Trace, Tracer};

/// How the rows of a result are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All queries of a head, head after head.
    ByHead,
    /// All heads of a query, query after query.
    ByQuery,
}

/// What the sums are made of.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    /// The leaf that v comes from.
    pub v: usize,
    pub width: usize,
    pub rows: Rows,
}

/// A product of probabilities and values.
struct Product {
    leaf: usize,
    probabilities: Trace,
    values: Factor,
    /// Rows and columns of one batch element.
    size: [usize; 2],
    /// Length of the sums.
    inner: usize,
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
        let probabilities = tracer.trace(operands[0])?;
        let inner = graph.ty(operands[0]).columns();
        if probabilities.shape()[..probabilities.shape().len() - 2] != *batch {
            return None;
        }
        Some(Self {
            leaf: tracer.leaves.get_index_of(&Value::from(node))?,
            probabilities,
            values: Factor::of(tracer, operands[1], attrs.transpose_b, batch)?,
            size: [*rows, *columns],
            inner,
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
            .map(|&node| Product::of(tracer, node))
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
            rows: rows(&order, scores)?,
        })
    }
}

/// The order of rows, each given as `query · heads + head`.
fn rows(order: &[usize], scores: &Scores) -> Option<Rows> {
    let (s, heads) = (scores.s, scores.heads);
    if order.len() != s * heads {
        return None;
    }
    let all =
        |place: &dyn Fn(usize) -> usize| order.iter().enumerate().all(|(i, &o)| o == place(i));
    if all(&|i| i) {
        Some(Rows::ByQuery)
    } else if all(&|i| i % s * heads + i / s) {
        Some(Rows::ByHead)
    } else {
        None
    }
}

struct Reading<'a, 'g> {
    tracer: &'a Tracer<'g>,
    products: &'a [Product],
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
    fn product_row(&self, term: &Trace, row: usize) -> Option<Option<(&Product, usize, usize)>> {
        let first = row * self.width;
        let (leaf, index) = match term.at(first) {
            Mark::Element { leaf, index } => (leaf, index),
            Mark::Number(_) => {
                let zero = |mark| matches!(mark, Mark::Number(n) if self.tracer.number(n) == 0.0);
                let zeros = (first..first + self.width).all(|i| zero(term.at(i)));
                return zeros.then_some(None);
            }
        };
        let product = self.products.iter().find(|product| product.leaf == leaf)?;
        let [rows, columns] = product.size;
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
        product: &Product,
        matrix: usize,
        x: usize,
        v: &mut Option<usize>,
        used: &mut [bool],
    ) -> Option<usize> {
        let mut own = None;
        let first = (matrix * product.size[0] + x) * product.inner;
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
            let fits = value_row == key as usize
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
