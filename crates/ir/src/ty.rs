//! Types of tensors: element, shape, quantisation.

use std::fmt;

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elem {
    Bool,
    /// -8 to 7, two in a byte, the earlier in the low half: weights.
    I4,
    I8,
    U8,
    I32,
    I64,
    F16,
    F32,
    F64,
}

impl Elem {
    /// Every element type.
    pub const ALL: [Elem; 9] = [
        Elem::Bool,
        Elem::I4,
        Elem::I8,
        Elem::U8,
        Elem::I32,
        Elem::I64,
        Elem::F16,
        Elem::F32,
        Elem::F64,
    ];

    /// The element type of a name in the text form.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|elem| elem.name() == name)
    }

    /// Bits of an element among others of its kind.
    pub const fn bits(self) -> usize {
        match self {
            Elem::I4 => 4,
            _ => self.bytes() * 8,
        }
    }

    /// Bytes that an element takes by itself.
    pub const fn bytes(self) -> usize {
        match self {
            Elem::Bool | Elem::I4 | Elem::I8 | Elem::U8 => 1,
            Elem::F16 => 2,
            Elem::I32 | Elem::F32 => 4,
            Elem::I64 | Elem::F64 => 8,
        }
    }

    /// Whether the elements are floating-point numbers.
    pub const fn is_float(self) -> bool {
        matches!(self, Elem::F16 | Elem::F32 | Elem::F64)
    }

    /// Name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Elem::Bool => "bool",
            Elem::I4 => "i4",
            Elem::I8 => "i8",
            Elem::U8 => "u8",
            Elem::I32 => "i32",
            Elem::I64 => "i64",
            Elem::F16 => "f16",
            Elem::F32 => "f32",
            Elem::F64 => "f64",
        }
    }
}

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the integers of a tensor stand for real numbers: real = integer · scale, integers from -127 to 127,
/// unless a zero point says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quant {
    /// One scale for the whole tensor, fixed by calibration.
    Tensor {
        /// The scale; positive and finite.
        scale: f32,
    },
    /// One scale and a zero point for the whole tensor, as models bring them: real = (integer - zero) · scale,
    /// integers from -128 to 127.
    Affine {
        /// The scale; positive and finite.
        scale: f32,
        /// The integer that stands for 0.
        zero: i8,
    },
    /// A scale for each `group` consecutive elements of the last axis, found at run time. The scales
    /// travel with the value: `[rows, last / group]` of f32.
    Row {
        /// Elements that share a scale; divides the last axis.
        group: usize,
    },
    /// A scale for each index along `axis`; for constants, whose scales are derived from their values.
    Channel {
        /// The axis whose indices have a scale each.
        axis: usize,
    },
    /// A scale and a zero point for each index along `axis`, as models bring weights: real =
    /// (integer - zero) · scale. For constants that products read; both are stored beside the integers.
    Shifted {
        /// The axis whose indices have a scale and a zero point each.
        axis: usize,
    },
    /// i4 with an f16 step for each index along `axis` of a matrix and each `group` consecutive elements
    /// of its other axis; for constants, whose steps are derived from their values.
    Block {
        /// The axis of channels.
        axis: usize,
        /// Elements of a channel that share a step; divides the other axis.
        group: usize,
    },
}

/// The type of a tensor. Shapes are static: axes are bound before a graph exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    pub elem: Elem,
    pub shape: Vec<usize>,
    pub quant: Option<Quant>,
}

impl Type {
    /// A tensor that is not quantised.
    pub fn new(elem: Elem, shape: impl Into<Vec<usize>>) -> Self {
        Self {
            elem,
            shape: shape.into(),
            quant: None,
        }
    }

    /// A quantised tensor, of i4 where scales belong to blocks and of i8 otherwise.
    pub fn quantized(shape: impl Into<Vec<usize>>, quant: Quant) -> Self {
        Self {
            elem: match quant {
                Quant::Block { .. } => Elem::I4,
                Quant::Tensor { .. }
                | Quant::Affine { .. }
                | Quant::Row { .. }
                | Quant::Channel { .. }
                | Quant::Shifted { .. } => Elem::I8,
            },
            shape: shape.into(),
            quant: Some(quant),
        }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of the elements, without scales.
    pub fn bytes(&self) -> usize {
        (self.elements() * self.elem.bits()).div_ceil(8)
    }

    /// Length of the last axis; 1 for a scalar.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Number of rows: the product of all axes but the last.
    pub fn rows(&self) -> usize {
        self.shape
            .split_last()
            .map_or(1, |(_, outer)| outer.iter().product())
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.elem)?;
        for (i, n) in self.shape.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{n}")?;
        }
        f.write_str("]")?;
        match self.quant {
            None => Ok(()),
            Some(Quant::Tensor { scale }) => write!(f, " scale({scale:?})"),
            Some(Quant::Affine { scale, zero }) => write!(f, " affine({scale:?}, {zero})"),
            Some(Quant::Row { group }) => write!(f, " row({group})"),
            Some(Quant::Channel { axis }) => write!(f, " channel({axis})"),
            Some(Quant::Shifted { axis }) => write!(f, " shifted({axis})"),
            Some(Quant::Block { axis, group }) => write!(f, " block({axis}, {group})"),
        }
    }
}
