//! Attention among rows that are near each other, in place or by their hashes.

use std::ops::Range;

use crate::ty::Elem;

/// Attributes of the order of rows by hash. Operands: x `[b, s, heads·width]`, rotations
/// `[heads·rounds·n, width]` with n half the sum of the factors, and the rest of the rotations (what
/// quantising them lost) where they are i8. The result, i32 `[b, heads, rounds·s]`, holds for each
/// head and round the places of the rows in the order of their buckets; rows of a bucket keep their
/// order.
///
/// A row's coordinates are its products with the n rotations of head and round. Each factor `m` takes
/// the next `m / 2` of them and gives the index of the largest among these and their negatives, the
/// first where several are; the bucket is the number whose digits, the first one lowest, these
/// indices are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashSort {
    pub heads: usize,
    pub rounds: usize,
    /// Even numbers whose product is the number of buckets.
    pub factors: Vec<usize>,
}

impl HashSort {
    /// Coordinates of a row in one round.
    pub fn coordinates(&self) -> usize {
        self.factors.iter().map(|m| m / 2).sum()
    }

    /// Number of buckets.
    pub fn buckets(&self) -> usize {
        self.factors
            .iter()
            .fold(1, |product, &m| product.saturating_mul(m))
    }
}

/// Attributes of attention among chunks of rows. Operands: q, k?, v, order?, seen?. q and k are
/// `[b, s, heads·width]`, v may have heads of another width; the result is
/// `[b, s, heads·width of v]`.
///
/// Rows are taken in their order, or for each head in the order of the operand `order`
/// (`[b, heads, rounds·s]`), and cut into chunks. Each row of a chunk attends to all rows of the
/// chunks from `before` ahead to `after` behind, counted around the ends. Where rows come up in
/// several rounds, a row's results are averaged with the softmax of the logarithms of their sums.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkAttention {
    pub heads: usize,
    /// Rows of a chunk; divides the rows of a round.
    pub chunk: usize,
    pub before: usize,
    pub after: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// A row does not see rows of later places.
    pub causal: bool,
    /// What scores of rows that are not seen become.
    pub hidden: f32,
    /// What the score of a row with itself becomes, behind all else.
    pub own: Option<f32>,
    /// There is no operand k: keys are the rows of q divided by the root of their mean square plus
    /// this.
    pub shared: Option<f32>,
    /// Rounds of the operand `order`; without it rows stay in place.
    pub rounds: Option<usize>,
    /// `[b, s]`, the last operand: rows where it is zero are not seen.
    pub seen: bool,
    /// Element type of the result.
    pub out: Elem,
}

/// Where the operands of a [`ChunkAttention`] stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkOperands {
    pub k: usize,
    pub v: usize,
    pub order: Option<usize>,
    pub seen: Option<usize>,
    pub count: usize,
}

impl ChunkAttention {
    /// Where the operands stand; q is the first, and stands for k where keys are shared.
    pub fn operands(&self) -> ChunkOperands {
        let k = usize::from(self.shared.is_none());
        let v = k + 1;
        let order = self.rounds.map(|_| v + 1);
        let seen = self
            .seen
            .then(|| v + 1 + usize::from(self.rounds.is_some()));
        ChunkOperands {
            k,
            v,
            order,
            seen,
            count: v + 1 + usize::from(order.is_some()) + usize::from(seen.is_some()),
        }
    }

    /// Chunks that each chunk sees.
    pub fn span(&self) -> usize {
        self.before + 1 + self.after
    }

    /// Rows that each row attends to.
    pub fn window(&self) -> usize {
        self.span() * self.chunk
    }

    /// Rows in order, all rounds, of a value of `s` rows.
    pub fn ordered(&self, s: usize) -> usize {
        self.rounds.unwrap_or(1) * s
    }

    /// The ordered rows that a chunk sees, as one or more runs.
    pub fn seen_by(&self, chunk: usize, s: usize) -> Vec<Range<usize>> {
        let chunks = self.ordered(s) / self.chunk.max(1);
        let mut runs: Vec<Range<usize>> = Vec::new();
        for step in 0..self.span() {
            let other = (chunk + chunks + step - self.before) % chunks;
            let run = other * self.chunk..(other + 1) * self.chunk;
            match runs.last_mut() {
                Some(last) if last.end == run.start => last.end = run.end,
                _ => runs.push(run),
            }
        }
        runs
    }
}
