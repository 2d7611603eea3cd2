//! Constants: stored data, with or without values.
//!
//! A constant is inline, mapped from a file, synthetic or absent, or it is derived from others. Only
//! the stages that need values ask for them; everything else works from type and identity.

use bytes::Bytes;

use crate::id::ConstId;
use crate::ty::Type;

/// Stored data of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Const {
    /// Name in the model; identity where there are no values.
    pub name: String,
    pub ty: Type,
    pub source: Source,
}

impl Const {
    /// The constants that this one is derived from, in order.
    pub fn derived_from(&self) -> &[ConstId] {
        match &self.source {
            Source::Bytes(_) | Source::Synthetic(_) | Source::Absent => &[],
            Source::Derived(derivation) => derivation.sources(),
        }
    }
}

impl Derivation {
    /// The constants that are read, in order.
    pub fn sources(&self) -> &[ConstId] {
        match self {
            Derivation::Transpose { of, .. }
            | Derivation::Reshape { of }
            | Derivation::Expand { of }
            | Derivation::Slice { of, .. }
            | Derivation::Quantize { of }
            | Derivation::Dequantize { of }
            | Derivation::Rest { of, .. }
            | Derivation::Scale { of, .. } => std::slice::from_ref(of),
            Derivation::Concat { of, .. } => of,
            Derivation::Scaled { of } | Derivation::ScaleEach { of, .. } => of,
        }
    }
}

/// Where the values of a constant come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Little-endian elements, row-major; a view of the model file where it came from there.
    Bytes(Bytes),
    /// Made on demand by a rule.
    Synthetic(Fill),
    /// Declared without values.
    Absent,
    /// Made from other constants.
    Derived(Derivation),
}

/// A rule that makes values, defined to the bit (see `fill`): a function of seed, name and index.
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    /// The name whose hash seeds the generator.
    pub name: String,
    pub seed: u64,
    pub kind: FillKind,
}

/// What values a rule makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FillKind {
    /// Sum of four uniform lanes, mean 0.
    Normal {
        std: f64,
    },
    Constant {
        value: f64,
    },
    Uniform {
        low: f64,
        high: f64,
    },
    UniformInt {
        low: i64,
        high: i64,
    },
    /// 0, 1, 2, …
    Arange,
    /// Lower triangle of ones.
    Tril,
}

/// How a constant is made from others.
#[derive(Clone, Debug, PartialEq)]
pub enum Derivation {
    /// Axes exchanged: axis i of the result is axis `perm[i]` of the operand.
    Transpose { of: ConstId, perm: Vec<usize> },
    /// Same elements in another shape.
    Reshape { of: ConstId },
    /// Repeated along axes of length 1 and new leading axes.
    Expand { of: ConstId },
    /// `count` elements of each axis from `start` on, `step` apart.
    Slice {
        of: ConstId,
        start: Vec<usize>,
        count: Vec<usize>,
        step: Vec<isize>,
    },
    /// Joined along an axis.
    Concat { of: Vec<ConstId>, axis: usize },
    /// Quantised to i8 with a scale for each index along the axis of the result's `Quant::Channel`, or to
    /// i4 with a step for each block of its `Quant::Block`.
    Quantize { of: ConstId },
    /// The real numbers that the integers of a quantised constant stand for.
    Dequantize { of: ConstId },
    /// What quantising with a scale for each index along the axis loses.
    Rest { of: ConstId, axis: usize },
    /// i8 values with the scales of their channels: the first constant holds the values, the second one
    /// f32 for each index along the axis of the result's `Quant::Channel`, or two for each of its
    /// `Quant::Shifted`, `[channels, 2]`: the scale and the zero point. Or i4 values with their steps in
    /// f16, `[channels, blocks]`.
    Scaled { of: [ConstId; 2] },
    /// Every element multiplied by a number.
    Scale { of: ConstId, factor: f32 },
    /// Every index along the axis of the first constant multiplied by a number of its own, an f32 of the second.
    ScaleEach { of: [ConstId; 2], axis: usize },
}
