//! Operators: what a node does with its operands.
//!
//! A closed set: a new operator is a new variant, and the compiler leads through shape rule
//! ([`crate::infer`]), evaluation ([`crate::eval`]) and text form ([`crate::text`]).

pub mod attention;
mod chunk;
mod name;

pub use attention::Attention;

use crate::id::ConstId;
use crate::ty::{Elem, Quant};

pub use chunk::{ChunkAttention, ChunkOperands, HashSort};

/// An operator with its attributes. Operand lists stand in the variants' docs; `?` marks an operand
/// that is present only where the attribute of that name says so.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// An input of the graph. No operands.
    Input { name: String },
    /// Stored data; stands in the text as `@3`, never on a line of its own. No operands.
    Const(ConstId),

    /// `fn(x)`.
    Unary(Unary),
    /// `fn(a, b)` with broadcasting.
    Binary(Binary),
    /// `cond ? a : b` with broadcasting. Operands: cond, a, b.
    Where,
    /// Converts the elements; float to integer truncates.
    Cast { to: Elem },

    /// Same elements in another shape.
    Reshape { shape: Vec<usize> },
    /// Axis i of the result is axis `perm[i]` of the operand.
    Transpose { perm: Vec<usize> },
    /// Repeats along axes of length 1 (and new leading axes).
    Expand { shape: Vec<usize> },
    /// Joins along an axis. Any number of operands.
    Concat { axis: usize },
    /// Elements `start, start + step, …` of each axis; `count` of them. Steps may be negative.
    Slice {
        start: Vec<usize>,
        count: Vec<usize>,
        step: Vec<isize>,
    },
    /// Adds `before` and `after` elements of a value at each axis.
    Pad {
        before: Vec<usize>,
        after: Vec<usize>,
        value: f32,
    },

    /// Rows of a table. Operands: table, indices. The axis is replaced by the indices' shape.
    Gather { axis: usize },
    /// One element for each index. Operands: x, indices.
    GatherElements { axis: usize },
    /// Writes elements. Operands: x, indices, updates.
    ScatterElements { axis: usize },
    /// Writes slices. Operands: x, indices, updates.
    ScatterNd,
    /// Sorts. Operand: x. Results: values, indices (i64). `count` of them along the axis.
    TopK {
        axis: usize,
        count: usize,
        largest: bool,
    },
    /// Index of the largest element along the axis (i64), the first where several are.
    ArgMax { axis: usize, keep: bool },
    /// Running sum along an axis.
    CumSum { axis: usize },
    /// Keeps one triangle, zeroes the other.
    Trilu { upper: bool, k: isize },
    /// Standard normal numbers of the operand's shape from a seed.
    RandomNormal { seed: u64 },

    /// Reduces over the axes; they stay with length 1 where `keep`.
    Reduce {
        kind: Reduce,
        axes: Vec<usize>,
        keep: bool,
    },
    /// Softmax along an axis.
    Softmax { axis: usize },
    /// Normalises rows (last axis): `(x − mean) / √(var + eps) · gamma + beta`. Operands: x, gamma?, beta?
    /// (`affine` says that both are present).
    LayerNorm { eps: f32, affine: bool },
    /// Divides rows by their root mean square. Operands: x, gamma? (`affine`).
    RmsNorm { eps: f32, affine: bool },

    /// Product over the last axis of `a`. Operands: a, b, bias?, residual?. See [`Matmul`].
    Matmul(Matmul),
    /// Softmax attention over heads. Operands: q, k, v, mask?, row_mask?, replaced?. See [`Attention`].
    Attention(Attention),
    /// Places of rows in the order of their hashes. Operands: x, rotations, rest?. See [`HashSort`].
    HashSort(HashSort),
    /// Attention among neighbouring chunks of rows. Operands: q, k?, v, order?, seen?. See
    /// [`ChunkAttention`].
    ChunkAttention(ChunkAttention),
    /// Sum of rows of tables. Operands: ids, table, ids, table, …: `tables` pairs.
    Embedding { tables: usize },
    /// Rows that a cache holds and, behind them, new ones: `[b, rows, width]`. Operands: held, new?. What is
    /// held is an input, and state of the model: it lasts from one pass to the next, and the result is
    /// what the next pass finds.
    Cache,
    /// Rotates pairs of elements of each head. Operands: x `[b, s, heads·width]`, cos, sin (`[s, n]`). The first
    /// 2·n elements of a head turn, the others stay.
    Rotary { heads: usize, interleaved: bool },

    /// Real numbers to i8.
    Quantize { quant: Quant },
    /// Real numbers to i8 in two parts side by side: `k` columns of the operand, and behind them `k` of what
    /// these have lost. Each part has a scale for each group of a row; with a fixed scale a row is one
    /// group, and the second part's scale is a fixed share of it.
    QuantizeParts { group: usize, scale: Option<f32> },
    /// i8 to real numbers of the element type.
    Dequantize { to: Elem },
}

/// A function of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    Neg,
    Abs,
    Sqrt,
    Rsqrt,
    Reciprocal,
    Exp,
    Log,
    Erf,
    Tanh,
    Sigmoid,
    Relu,
    GeluErf,
    GeluTanh,
    Silu,
    Sin,
    Cos,
    Not,
    IsNan,
    Floor,
    Ceil,
    Round,
}

/// A function of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Min,
    Max,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
}

/// What a reduction gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduce {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    LogSumExp,
    SumSquare,
}

/// Attributes of a product: `act(Σ a·b · alpha + bias) + residual`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matmul {
    /// Whether `b` is `[…, n, k]` instead of `[…, k, n]`.
    pub transpose_b: bool,
    /// How many parts of `k` columns `a` has side by side; each meets all of `b`, and their sums are added in
    /// order.
    pub parts: usize,
    /// Factor before the bias.
    pub alpha: f32,
    /// A bias `[n]` is the third operand.
    pub bias: bool,
    /// Applied after the bias.
    pub activation: Option<Activation>,
    /// A tensor of the result's shape is the last operand.
    pub residual: bool,
    /// Element type of the result.
    pub out: Elem,
}

impl Default for Matmul {
    fn default() -> Self {
        Self {
            transpose_b: false,
            parts: 1,
            alpha: 1.0,
            bias: false,
            activation: None,
            residual: false,
            out: Elem::F32,
        }
    }
}

/// Activations that a product can apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    Relu,
    GeluErf,
    GeluTanh,
    Silu,
    Sigmoid,
    Tanh,
}
