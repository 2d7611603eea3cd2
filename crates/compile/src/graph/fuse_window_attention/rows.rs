//! In which order rows lie: of a batch's sequences in a value, of heads and queries in a result.

use packwright_ir::diag::Diagnostics;
use packwright_ir::{Graph, Op, OriginId, Value};

use crate::graph::matching::add;

/// How the rows of several sequences lie in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Sequences.
    pub batch: usize,
    /// Whether the rows of a sequence lie apart: position by position, all sequences each.
    pub apart: bool,
}

impl Order {
    /// The orders that the shape of a value allows, that of a single sequence first.
    pub fn of(shape: &[usize]) -> Vec<Self> {
        let mut orders = vec![Self {
            batch: 1,
            apart: false,
        }];
        if let &[first, second, _] = shape
            && first > 1
            && second > 1
        {
            orders.extend(
                [(first, false), (second, true)].map(|(batch, apart)| Self { batch, apart }),
            );
        }
        orders
    }

    /// Where a row stands among all rows, `rows` of them, when those of a sequence are neighbours.
    pub fn place(self, row: usize, rows: usize) -> usize {
        if self.apart {
            row % self.batch * (rows / self.batch) + row / self.batch
        } else {
            row
        }
    }

    /// A value as `[b, rows, columns]`.
    pub fn sequences(
        self,
        graph: &mut Graph,
        value: Value,
        origin: OriginId,
    ) -> Result<Value, Diagnostics> {
        let ty = graph.ty(value);
        let (rows, columns) = (ty.rows() / self.batch, ty.columns());
        let shape = if self.apart {
            vec![rows, self.batch, columns]
        } else {
            vec![self.batch, rows, columns]
        };
        let value = add(graph, Op::Reshape { shape }, &[value], origin)?;
        if !self.apart {
            return Ok(value);
        }
        let perm = vec![1, 0, 2];
        Ok(add(graph, Op::Transpose { perm }, &[value], origin)?)
    }
}

/// The order of batch, query and head (axes 0, 1 and 2), outermost first, in which rows lie, each given as
/// `(batch · s + query) · heads + head`.
pub fn axes(places: &[usize], sizes: [usize; 3]) -> Option<[usize; 3]> {
    const ORDERS: [[usize; 3]; 6] = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    if places.len() != sizes.iter().product() {
        return None;
    }
    let strides = [sizes[1] * sizes[2], sizes[2], 1];
    ORDERS.into_iter().find(|order| {
        let inner = [sizes[order[1]] * sizes[order[2]], sizes[order[2]]];
        places.iter().enumerate().all(|(row, &place)| {
            let steps = [row / inner[0], row % inner[0] / inner[1], row % inner[1]];
            let expected: usize = steps
                .iter()
                .zip(order)
                .map(|(step, &axis)| step * strides[axis])
                .sum();
            place == expected
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{Order, axes};

    #[test]
    fn rows_of_sequences_are_put_together() {
        let apart = Order {
            batch: 2,
            apart: true,
        };
        let places: Vec<usize> = (0..6).map(|row| apart.place(row, 6)).collect();
        assert_eq!(places, [0, 3, 1, 4, 2, 5]);
        assert_eq!(Order::of(&[3, 2, 8])[2], apart);
        assert_eq!(Order::of(&[1, 6, 8]).len(), 1);
    }

    #[test]
    fn the_order_of_rows_is_found_from_their_places() {
        // Two sequences of two queries with three heads, head by head within a sequence.
        let by_head = [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11];
        assert_eq!(axes(&by_head, [2, 2, 3]), Some([0, 2, 1]));
        let plain: Vec<usize> = (0..12).collect();
        assert_eq!(axes(&plain, [2, 2, 3]), Some([0, 1, 2]));
        assert_eq!(axes(&[0, 1, 3, 2], [1, 2, 2]), None);
        assert_eq!(axes(&[0, 1], [1, 2, 2]), None);
    }
}
