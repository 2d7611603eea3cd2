//! Products around a softmax, and their factors in rows.

use packwright_ir::{Graph, NodeId, Op, Value};

use super::trace::{Mark, Trace, Tracer};

/// A product of two computed values without epilogue.
pub struct Product {
    /// The leaf that its elements are.
    pub leaf: usize,
    pub operands: [Value; 2],
    pub transpose_b: bool,
    /// Axes in front of the matrices.
    pub batch: Vec<usize>,
    /// Rows and columns of one matrix.
    pub size: [usize; 2],
}

impl Product {
    /// The product that a node is; its elements have been met among marks.
    pub fn of(tracer: &Tracer<'_>, node: NodeId) -> Option<Self> {
        let graph = tracer.graph;
        let Op::Matmul(attrs) = graph.op(node) else {
            return None;
        };
        let operands = <[Value; 2]>::try_from(graph.operands(node)).ok()?;
        let plain = attrs.alpha == 1.0 && attrs.activation.is_none();
        let [batch @ .., rows, columns] = &graph.types(node)[0].shape[..] else {
            return None;
        };
        let leaf = tracer.leaves.get_index_of(&Value::from(node))?;
        plain.then(|| Self {
            leaf,
            operands,
            transpose_b: attrs.transpose_b,
            batch: batch.to_vec(),
            size: [*rows, *columns],
        })
    }
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
