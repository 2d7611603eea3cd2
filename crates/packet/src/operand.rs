//! What the fields of commands hold: addresses, views, element types, small enums.

/// Element type at a memory port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elem {
    I8,
    I32,
    /// Token ids and masks as the model's inputs hold them.
    I64,
    F16,
    F32,
}

impl Elem {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Elem::I8 => 1,
            Elem::F16 => 2,
            Elem::I32 | Elem::F32 => 4,
            Elem::I64 => 8,
        }
    }
}

/// A run-time integer of an entry (`r0`, `r1`, …), with a maximum declared by the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(pub u8);

/// A number that may depend on one register: `base + scale · reg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Affine {
    pub base: u64,
    pub term: Option<(Reg, u64)>,
}

impl Affine {
    /// A number that depends on no register.
    pub const fn constant(base: u64) -> Self {
        Self { base, term: None }
    }

    /// The value for given register contents.
    ///
    /// A register that is not among `registers` counts as zero, and a value beyond 64 bits is the
    /// largest one; `check` refuses such programs.
    pub fn at(self, registers: &[u64]) -> u64 {
        match self.term {
            None => self.base,
            Some((reg, scale)) => {
                let value = registers.get(usize::from(reg.0)).copied().unwrap_or(0);
                self.base.saturating_add(scale.saturating_mul(value))
            }
        }
    }
}

impl From<u64> for Affine {
    fn from(base: u64) -> Self {
        Self::constant(base)
    }
}

impl From<u32> for Affine {
    fn from(base: u32) -> Self {
        Self::constant(u64::from(base))
    }
}

/// A two-dimensional view of SRAM: element `(i, j)` lies at `addr + i·pitch + j·step`.
///
/// A pitch of zero repeats one row, a step of zero repeats one element of each row; a transposed
/// operand has `pitch` = element size and `step` = distance of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    pub elem: Elem,
    /// SRAM byte address of element (0, 0).
    pub addr: Affine,
    /// Bytes from one row to the next.
    pub pitch: u32,
    /// Bytes from one element of a row to the next.
    pub step: u32,
}

impl View {
    /// Rows of contiguous elements, `pitch` bytes apart.
    pub fn rows(elem: Elem, addr: impl Into<Affine>, pitch: u32) -> Self {
        Self {
            elem,
            addr: addr.into(),
            pitch,
            step: elem.bytes(),
        }
    }

    /// One row, repeated for every row of the other operand.
    pub fn row(elem: Elem, addr: impl Into<Affine>) -> Self {
        Self::rows(elem, addr, 0)
    }

    /// One element a row, repeated along the row.
    pub fn column(elem: Elem, addr: impl Into<Affine>, pitch: u32) -> Self {
        Self {
            elem,
            addr: addr.into(),
            pitch,
            step: 0,
        }
    }
}

/// Index of a DRAM region of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub u16);

/// A place in DRAM: a region of the entry and a byte offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DramRef {
    pub region: RegionId,
    pub offset: Affine,
}

/// Extents and strides of a transfer: three outer dimensions over runs of contiguous bytes.
///
/// Run `(a, b, c)` of `bytes` bytes lies at `a·dram[0] + b·dram[1] + c·dram[2]` in DRAM and at
/// `a·sram[0] + b·sram[1] + c·sram[2]` in SRAM. Outer dimensions that are not used are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    pub count: [Affine; 3],
    /// Contiguous bytes of one run.
    pub bytes: Affine,
    pub dram: [u64; 3],
    pub sram: [u32; 3],
}

impl Block {
    /// One run of contiguous bytes.
    pub fn run(bytes: impl Into<Affine>) -> Self {
        let one = Affine::constant(1);
        Self {
            count: [one; 3],
            bytes: bytes.into(),
            dram: [0; 3],
            sram: [0; 3],
        }
    }

    /// `rows` runs of `bytes` bytes.
    pub fn rows(
        rows: impl Into<Affine>,
        bytes: impl Into<Affine>,
        dram_pitch: u64,
        sram_pitch: u32,
    ) -> Self {
        let one = Affine::constant(1);
        Self {
            count: [one, one, rows.into()],
            bytes: bytes.into(),
            dram: [0, 0, dram_pitch],
            sram: [0, 0, sram_pitch],
        }
    }
}

/// What a matrix epilogue or a vector command applies to each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryFn {
    /// The element itself: converts between types.
    Identity,
    Relu,
    GeluErf,
    GeluTanh,
    Silu,
    Sigmoid,
    Tanh,
    Erf,
    Exp,
    Ln,
    Sqrt,
    Rsqrt,
    Reciprocal,
    Neg,
    Abs,
    Sin,
    Cos,
    /// 1 where the element is zero, else 0.
    Not,
}

/// What an element-wise command does with two operands. Comparisons give 1 or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryFn {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Pow,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

/// Which normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// Subtracts the mean, divides by the standard deviation.
    Layer,
    /// Divides by the root of the mean square.
    Rms,
}

/// What a reduction over a row gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceKind {
    Sum,
    Mean,
    Max,
    Min,
    /// Each square is rounded before it is added.
    SumSquares,
    /// The index of the first largest element.
    ArgMax,
}

/// How rotary pairs lie in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RotaryLayout {
    /// Element j is paired with j + width/2.
    Half,
    /// Element 2j is paired with 2j + 1.
    Interleaved,
}

/// Which operand of a product the array holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// The right operand (weights, keys, values).
    B,
    /// The left operand.
    A,
}
