//! The table of commands. Encoding, assembler, disassembler and `docs/packets.md` follow from it.

use crate::operand::{
    Affine, BinaryFn, Block, DramRef, Elem, Hold, NormKind, ReduceKind, RotaryLayout, UnaryFn, View,
};

/// Which unit executes a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    Dma,
    Matrix,
    Vector,
}

/// One field of a command, for the generated documentation.
#[derive(Clone, Copy, Debug)]
pub struct FieldDef {
    pub name: &'static str,
    pub ty: &'static str,
    pub doc: &'static str,
}

/// One command, for the generated documentation.
#[derive(Clone, Copy, Debug)]
pub struct CommandDef {
    pub mnemonic: &'static str,
    pub opcode: u8,
    pub unit: Unit,
    pub doc: &'static str,
    pub fields: &'static [FieldDef],
}

/// Declares all commands: a struct each, the enum over them, and the documentation table.
macro_rules! commands {
    ($( $(#[doc = $cdoc:literal])* $name:ident = $opcode:literal $mnemonic:literal on $unit:ident {
        $( $(#[doc = $fdoc:literal])* $field:ident : $ty:ty, )*
    } )*) => {
        $(
            $(#[doc = $cdoc])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $name { $( $(#[doc = $fdoc])* pub $field: $ty, )* }
        )*

        /// One order to one unit.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Command { $( $(#[doc = $cdoc])* $name($name), )* }

        impl Command {
            /// The unit that executes the command.
            pub const fn unit(&self) -> Unit {
                match self { $( Command::$name(_) => Unit::$unit, )* }
            }

            /// The name of the command in the text form.
            pub const fn mnemonic(&self) -> &'static str {
                match self { $( Command::$name(_) => $mnemonic, )* }
            }

            /// The first byte of the command's encoding.
            pub const fn opcode(&self) -> u8 {
                match self { $( Command::$name(_) => $opcode, )* }
            }
        }

        /// Every command with its fields, in the order of opcodes.
        pub const TABLE: &[CommandDef] = &[ $( CommandDef {
            mnemonic: $mnemonic,
            opcode: $opcode,
            unit: Unit::$unit,
            doc: concat!($($cdoc, "\n",)*),
            fields: &[ $( FieldDef {
                name: stringify!($field),
                ty: stringify!($ty),
                doc: concat!($($fdoc, "\n",)*),
            }, )* ],
        }, )* ];
    };
}

commands! {
    /// Moves a block from DRAM to SRAM.
    Load = 0x01 "load" on Dma {
        /// SRAM byte address of the first run.
        dst: Affine,
        /// Where the first run lies in DRAM.
        src: DramRef,
        /// Extents and strides.
        block: Block,
    }
    /// Moves a block from SRAM to DRAM.
    Store = 0x02 "store" on Dma {
        /// Where the first run goes in DRAM.
        dst: DramRef,
        /// SRAM byte address of the first run.
        src: Affine,
        /// Extents and strides.
        block: Block,
    }
    /// Moves rows of a table from DRAM to SRAM: row `index[i]` of the table becomes row `i`.
    /// A negative index counts from the end; an index outside the table is clamped to its last row.
    /// The time of a gather does not depend on the indices.
    Gather = 0x03 "gather" on Dma {
        /// SRAM byte address of the first row.
        dst: Affine,
        /// Bytes from one row to the next in SRAM.
        dst_pitch: u32,
        /// The table in DRAM.
        table: DramRef,
        /// Bytes of one row.
        row_bytes: u32,
        /// Bytes from one row of the table to the next.
        row_pitch: u64,
        /// Rows of the table.
        table_rows: u64,
        /// The indices: one row of i32 or i64 elements.
        index: View,
        /// How many rows to move.
        count: Affine,
    }
    /// Product of int8 operands with 32-bit sums: `out[m,n] = finish(Σ_k a[m,k]·b[n,k])`.
    /// See `docs/numerics.md`, section "Matrix products", for the arithmetic.
    Matmul = 0x10 "matmul" on Matrix {
        /// Rows of the left operand.
        m: Affine,
        /// Columns of the result.
        n: Affine,
        /// Length of the contraction.
        k: Affine,
        /// Left operand, m × k of i8.
        a: View,
        /// Right operand, n × k of i8 (a `[k, n]` tensor is a view with pitch and step exchanged).
        b: View,
        /// The operand that the array holds.
        hold: Hold,
        /// Contraction elements that share one scale of `a`; `group = k` where a whole row does.
        group: Affine,
        /// Scales of `a`: m × (k / group) of f32 (pitch and step zero for one static scale).
        a_scale: Option<View>,
        /// Scales of `b`: one row of n f32.
        b_scale: Option<View>,
        /// Factor applied after the scales.
        alpha: f32,
        /// Bias: one row of n f32.
        bias: Option<View>,
        /// Applied after the bias.
        activation: UnaryFn,
        /// Added after the activation: m × n of f16 or f32.
        residual: Option<View>,
        /// Partial sums, m × n: i32 before scaling (one group), or f32 of scaled groups.
        acc: Option<View>,
        /// Whether the partial sums start from zero instead of from `acc`.
        start: bool,
        /// Whether this is the last part of the contraction: `out` is written instead of `acc`.
        finish: bool,
        /// The result, m × n of f32, f16 or i8.
        out: View,
        /// Static scale of an i8 result; 1 otherwise.
        out_scale: f32,
    }
    /// `dst = fn(src)` on each element, converting between types.
    Unary = 0x20 "unary" on Vector {
        rows: Affine,
        cols: Affine,
        func: UnaryFn,
        src: View,
        dst: View,
    }
    /// `dst = fn(a, b)` on each element.
    Binary = 0x21 "binary" on Vector {
        rows: Affine,
        cols: Affine,
        func: BinaryFn,
        a: View,
        b: View,
        dst: View,
    }
    /// `dst = cond ≠ 0 ? a : b` on each element.
    Select = 0x22 "select" on Vector {
        rows: Affine,
        cols: Affine,
        cond: View,
        a: View,
        b: View,
        dst: View,
    }
    /// `dst = value` on each element.
    Fill = 0x23 "fill" on Vector {
        rows: Affine,
        cols: Affine,
        value: f32,
        dst: View,
    }
    /// Normalises each row, with an optional addend before: `dst = norm(src + residual)·gamma + beta`.
    Norm = 0x24 "norm" on Vector {
        rows: Affine,
        cols: Affine,
        kind: NormKind,
        eps: f32,
        src: View,
        gamma: Option<View>,
        beta: Option<View>,
        dst: View,
    }
    /// Softmax of each row of scores: `p = softmax(src·scale + mask)`, then `p·col_scale`; to f16 or
    /// f32, or to i8 with a scale found for each row.
    /// With `causal`, row i sees the columns up to `i + causal` only.
    Softmax = 0x25 "softmax" on Vector {
        rows: Affine,
        cols: Affine,
        src: View,
        /// Factor applied to the scores before the mask.
        scale: f32,
        /// Added to the scores: rows × cols, or one row.
        mask: Option<View>,
        /// Number of columns that row 0 sees, less one.
        causal: Option<Affine>,
        /// Multiplied into the result: one row of f32 (the row scales of V).
        col_scale: Option<View>,
        dst: View,
        /// Scales found for the rows of an i8 result: one f32 a row.
        dst_scale: Option<View>,
    }
    /// Quantises rows to i8, with one scale found for each group of a row, or with a static scale.
    Quantize = 0x26 "quantize" on Vector {
        rows: Affine,
        cols: Affine,
        src: View,
        dst: View,
        /// Elements of a row that share a scale.
        group: Affine,
        /// Where the scales go: rows × (cols / group) of f32.
        dst_scale: Option<View>,
        /// The static scale, where `dst_scale` is none.
        scale: f32,
    }
    /// `dst = src·scale + addend`: int8 rows back to f16 or f32.
    Dequantize = 0x27 "dequantize" on Vector {
        rows: Affine,
        cols: Affine,
        src: View,
        /// f32 scales as a view of rows × cols (step zero: one a row; pitch zero: one a column).
        scale: View,
        /// Added to the result.
        addend: Option<View>,
        dst: View,
    }
    /// Rotates pairs of elements of each row by an angle given by its cosine and sine.
    Rotary = 0x28 "rotary" on Vector {
        rows: Affine,
        /// Width of the rotated part of a head.
        cols: Affine,
        layout: RotaryLayout,
        src: View,
        /// rows × cols / 2 of f32.
        cos: View,
        /// rows × cols / 2 of f32.
        sin: View,
        dst: View,
    }
    /// Reduces each row to one element.
    Reduce = 0x29 "reduce" on Vector {
        rows: Affine,
        cols: Affine,
        kind: ReduceKind,
        src: View,
        /// One element a row.
        dst: View,
    }
    /// Copies elements within SRAM without changing them; views may transpose or repeat.
    Copy = 0x2a "copy" on Vector {
        rows: Affine,
        cols: Affine,
        src: View,
        dst: View,
    }
}

/// The element type that a field of a command has, for those that choose at run time.
pub const FLOAT_ELEMS: [Elem; 2] = [Elem::F16, Elem::F32];
