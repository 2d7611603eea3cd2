//! The table of commands. Encoding, assembler, disassembler and `docs/packets.md` follow from it.

use crate::decode::DecodeError;
use crate::field::{Field, Visitor};
use crate::fields::Fields;
use crate::operand::{
    Affine, BinaryFn, Block, DramRef, Elem, Hold, NormKind, ReduceKind, RotaryLayout, UnaryFn, View,
};
use crate::varint::{Reader, put};

/// Which unit executes a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A DMA engine, between DRAM and SRAM.
    Dma,
    /// A matrix array.
    Matrix,
    /// A vector unit.
    Vector,
}

/// One field of a command, for the generated documentation.
#[derive(Clone, Copy, Debug)]
pub struct FieldDef {
    /// Name of the field, also in the text form.
    pub name: &'static str,
    /// Its Rust type.
    pub ty: &'static str,
    /// The value that is left out in text and bytes, as an expression over earlier fields.
    pub default: Option<&'static str>,
    /// What it means; may be empty.
    pub doc: &'static str,
}

/// One command, for the generated documentation.
#[derive(Clone, Copy, Debug)]
pub struct CommandDef {
    /// Its name in the text form.
    pub mnemonic: &'static str,
    /// The first byte of its encoding.
    pub opcode: u8,
    /// What executes it.
    pub unit: Unit,
    /// What it does.
    pub doc: &'static str,
    /// Its fields, in the order of the encoding.
    pub fields: &'static [FieldDef],
}

/// Which of a command's fields with defaults differ from them: one bit each, in table order.
#[derive(Default)]
struct Mask {
    bits: u32,
    next: u32,
}

impl Mask {
    /// Notes whether the next field differs.
    fn push(&mut self, differs: bool) {
        self.bits |= u32::from(differs) << self.next;
        self.next += 1;
    }

    /// Appends the mask, and starts again at the first field; a command without defaults has none.
    fn encode(&mut self, out: &mut Vec<u8>) {
        if self.next > 0 {
            put(out, u128::from(self.bits));
        }
        self.next = 0;
    }

    /// Takes the mask of a command that has `count` fields with defaults.
    fn decode(input: &mut Reader<'_>, count: u32) -> Result<Self, DecodeError> {
        let at = input.position();
        let bits = if count > 0 { input.number()? } else { 0 };
        if bits >> count != 0 {
            return Err(DecodeError::Number { at });
        }
        Ok(Self { bits, next: 0 })
    }

    /// Whether the next field differs.
    fn pop(&mut self) -> bool {
        let differs = self.bits >> self.next & 1 == 1;
        self.next += 1;
        differs
    }
}

/// What becomes of one field, with and without a default.
macro_rules! field {
    (encode $out:ident $mask:ident $field:ident) => {
        Field::encode($field, $out);
    };
    (encode $out:ident $mask:ident $field:ident $default:expr) => {
        if $mask.pop() {
            Field::encode($field, $out);
        }
    };
    (decode $input:ident $mask:ident $ty:ty) => {
        <$ty as Field>::decode($input)?
    };
    (decode $input:ident $mask:ident $ty:ty; $default:expr) => {
        if $mask.pop() {
            <$ty as Field>::decode($input)?
        } else {
            $default
        }
    };
    (print $out:ident $field:ident) => {
        print_field(stringify!($field), $field, $out);
    };
    (print $out:ident $field:ident $default:expr) => {
        if !Field::same($field, &$default) {
            print_field(stringify!($field), $field, $out);
        }
    };
    (parse $fields:ident $field:ident) => {
        $fields.required(stringify!($field))
    };
    (parse $fields:ident $field:ident $default:expr) => {
        $fields.optional(stringify!($field))
    };
    (parsed $field:ident) => {
        $field?
    };
    (parsed $field:ident $default:expr) => {
        match $field {
            Some(value) => value,
            None => $default,
        }
    };
    (default) => {
        None
    };
    (default $default:expr) => {
        Some(stringify!($default))
    };
}

/// Appends ` name=value`.
fn print_field<T: Field>(name: &str, value: &T, out: &mut String) {
    out.push(' ');
    out.push_str(name);
    out.push('=');
    value.print(name, out);
}

/// Declares all commands: a struct each, the enum over them, what follows from the order and the
/// types of their fields (encoding, text, operands), and the documentation table.
///
/// A field may have a default, an expression that may use earlier fields by reference; a field
/// that equals it is left out in text and bytes.
macro_rules! commands {
    ($( $(#[doc = $cdoc:literal])* $name:ident = $opcode:literal $mnemonic:literal on $unit:ident {
        $( $(#[doc = $fdoc:literal])* $field:ident : $ty:ty $(= $default:expr)?, )*
    } )*) => {
        $(
            $(#[doc = $cdoc])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $name { $( $(#[doc = $fdoc])* pub $field: $ty, )* }

            impl $name {
                /// How many fields have defaults.
                const DEFAULTS: u32 = 0 $( $( + { let _ = stringify!($default); 1 } )? )*;

                fn encode_fields(&self, out: &mut Vec<u8>) {
                    let Self { $($field),* } = self;
                    let mut mask = Mask::default();
                    $( $( mask.push(!Field::same($field, &$default)); )? )*
                    mask.encode(out);
                    $( field!(encode out mask $field $($default)?); )*
                }

                #[allow(unused_mut, unused_variables)]
                fn decode_fields(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                    let mut mask = Mask::decode(input, Self::DEFAULTS)?;
                    $( let $field = &(field!(decode input mask $ty $(; $default)?)); )*
                    Ok(Self { $($field: *$field),* })
                }

                fn print_fields(&self, out: &mut String) {
                    let Self { $($field),* } = self;
                    $( field!(print out $field $($default)?); )*
                }

                fn parse_fields(fields: &mut Fields<'_>) -> Option<Self> {
                    $( let $field: Option<$ty> = field!(parse fields $field $($default)?); )*
                    $( let $field: &$ty = &(field!(parsed $field $($default)?)); )*
                    Some(Self { $($field: *$field),* })
                }

                fn visit(&self, visitor: &mut dyn Visitor) {
                    $( self.$field.visit(stringify!($field), visitor); )*
                }
            }
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

            /// Appends the bytes that follow the opcode.
            pub(crate) fn encode_fields(&self, out: &mut Vec<u8>) {
                match self { $( Command::$name(command) => command.encode_fields(out), )* }
            }

            /// Takes the bytes that follow the opcode, which stood at byte `at`.
            pub(crate) fn decode_fields(
                opcode: u8,
                at: usize,
                input: &mut Reader<'_>,
            ) -> Result<Self, DecodeError> {
                match opcode {
                    $( $opcode => $name::decode_fields(input).map(Command::$name), )*
                    _ => Err(DecodeError::Opcode { at, opcode }),
                }
            }

            /// Appends the text that follows the mnemonic: ` field=value` for each field that
            /// differs from its default.
            pub(crate) fn print_fields(&self, out: &mut String) {
                match self { $( Command::$name(command) => command.print_fields(out), )* }
            }

            /// Takes the fields that follow a mnemonic; complaints are kept in `fields`.
            pub(crate) fn parse_fields(mnemonic: &str, fields: &mut Fields<'_>) -> Option<Self> {
                match mnemonic {
                    $( $mnemonic => $name::parse_fields(fields).map(Command::$name), )*
                    _ => None,
                }
            }

            /// Shows every operand that depends on registers, addresses SRAM or names a region.
            pub fn visit(&self, visitor: &mut dyn Visitor) {
                match self { $( Command::$name(command) => command.visit(visitor), )* }
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
                default: field!(default $($default)?),
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
    /// Product of int8 operands with 32-bit sums: `out[m,n] = finish(Σ_k a[m,k]·b[n,k])`. The right operand may
    /// be int4, widened on its way into the array.
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
        /// Right operand, n × k of i8 (a `[k, n]` tensor is a view with pitch and step exchanged), or
        /// n × k/2 bytes where `b_bits` is 4.
        b: View,
        /// The operand that the array holds.
        hold: Hold = Hold::B,
        /// Contraction elements that share one scale of `a`; `group = k` where a whole row does.
        group: Affine = *k,
        /// Scales of `a`: m × (k / group) of f32 (pitch and step zero for one static scale).
        a_scale: Option<View> = None,
        /// The zero point of `a`: taken from each of its elements.
        a_zero: i8 = 0,
        /// Scales of `b`: one row of n f32.
        b_scale: Option<View> = None,
        /// Factor applied after the scales.
        alpha: f32 = 1.0,
        /// Bias: one row of n f32.
        bias: Option<View> = None,
        /// Applied after the bias.
        activation: UnaryFn = UnaryFn::Identity,
        /// Added after the activation: m × n of f16 or f32.
        residual: Option<View> = None,
        /// Partial sums, m × n: i32 before scaling (one group), or f32 of scaled groups.
        acc: Option<View> = None,
        /// Whether the partial sums start from zero instead of from `acc`.
        start: bool = true,
        /// Whether this is the last part of the contraction: `out` is written instead of `acc`.
        finish: bool = true,
        /// The result, m × n of f32, f16 or i8.
        out: View,
        /// Static scale of an i8 result; 1 otherwise.
        out_scale: f32 = 1.0,
        /// Bits of an element of `b`: 8, or 4 where each byte holds two, the earlier in the low half.
        b_bits: u32 = 8,
        /// Contraction elements that share one step of `b`; of `group` and `b_group` one divides the other.
        b_group: Affine = *k,
        /// Steps of `b` within the sum: n × (k / b_group) of f16.
        b_step: Option<View> = None,
        /// Zero points of `b`, one row of n i32 from -128 to 127: each is taken from the elements of its column.
        b_zero: Option<View> = None,
    }
    /// `dst = fn(src)` on each element, converting between types.
    Unary = 0x20 "unary" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// What is applied.
        func: UnaryFn,
        /// The operand.
        src: View,
        /// The result.
        dst: View,
    }
    /// `dst = fn(a, b)` on each element.
    Binary = 0x21 "binary" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// What is applied.
        func: BinaryFn,
        /// The first operand.
        a: View,
        /// The second operand.
        b: View,
        /// The result.
        dst: View,
    }
    /// `dst = cond ≠ 0 ? a : b` on each element.
    Select = 0x22 "select" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// What chooses.
        cond: View,
        /// The first operand.
        a: View,
        /// The second operand.
        b: View,
        /// The result.
        dst: View,
    }
    /// `dst = value + j·step` on element j of each row.
    Fill = 0x23 "fill" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// What the first element of each row becomes.
        value: f32,
        /// The result.
        dst: View,
        /// Added from one element of a row to the next; the product with j is rounded, then the sum.
        step: f32 = 0.0,
    }
    /// Normalises each row, with an optional addend before: `dst = norm(src + residual)·gamma + beta`.
    Norm = 0x24 "norm" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// Which normalisation.
        kind: NormKind,
        /// Added to the variance or mean square.
        eps: f32,
        /// The operand.
        src: View,
        /// Multiplied after normalising: one row.
        gamma: Option<View> = None,
        /// Added last: one row.
        beta: Option<View> = None,
        /// The result.
        dst: View,
    }
    /// Softmax of each row of scores: `p = softmax(src·scale + mask)`, then `p·col_scale`; to f16 or
    /// f32, or to i8 with a scale found for each row.
    /// With `causal`, row i sees the columns up to `i + causal` only; with `window`, only the last so many
    /// of these. The first `always` columns are seen by every row.
    Softmax = 0x25 "softmax" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// The operand.
        src: View,
        /// Factor applied to the scores before the mask.
        scale: f32 = 1.0,
        /// Added to the scores: rows × cols, or one row.
        mask: Option<View> = None,
        /// Added to the scores behind the mask: one element a row.
        row_mask: Option<View> = None,
        /// Number of columns that row 0 sees, less one.
        causal: Option<Affine> = None,
        /// Most columns that a row sees, up to its last one. It needs `causal`.
        window: Option<Affine> = None,
        /// Leading columns that every row sees, whatever `causal` and `window` say.
        always: Affine = Affine::constant(0),
        /// Multiplied into the result: one row of f32 (the row scales of V).
        col_scale: Option<View> = None,
        /// The result.
        dst: View,
        /// Scales found for the rows of an i8 result: one f32 a row.
        dst_scale: Option<View> = None,
        /// The logarithms of the sums of exponentials of scaled and masked scores: one f32 a row.
        log_sum: Option<View> = None,
    }
    /// Quantises rows to i8, with one scale found for each group of a row, or with a static scale.
    Quantize = 0x26 "quantize" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// The operand.
        src: View,
        /// The result.
        dst: View,
        /// Elements of a row that share a scale.
        group: Affine = *cols,
        /// Where the scales go: rows × (cols / group) of f32.
        dst_scale: Option<View> = None,
        /// The static scale, where `dst_scale` is none.
        scale: f32 = 1.0,
        /// Added to the integers, which then go from -128 to 127; with a static scale only.
        zero: Option<i8> = None,
    }
    /// `dst = src·scale + addend`: int8 rows back to f16 or f32.
    Dequantize = 0x27 "dequantize" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// The operand.
        src: View,
        /// f32 scales as a view of rows × cols (step zero: one a row; pitch zero: one a column).
        scale: View,
        /// Added to the result.
        addend: Option<View> = None,
        /// The result.
        dst: View,
    }
    /// Rotates pairs of elements of each row by an angle given by its cosine and sine.
    Rotary = 0x28 "rotary" on Vector {
        /// How many rows.
        rows: Affine,
        /// Width of the rotated part of a head.
        cols: Affine,
        /// How pairs lie in a head.
        layout: RotaryLayout,
        /// The operand.
        src: View,
        /// rows × cols / 2 of f32.
        cos: View,
        /// rows × cols / 2 of f32.
        sin: View,
        /// The result.
        dst: View,
    }
    /// Reduces each row to one element.
    Reduce = 0x29 "reduce" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// What a row gives.
        kind: ReduceKind,
        /// The operand.
        src: View,
        /// One element a row.
        dst: View,
    }
    /// Copies elements within SRAM without changing them; views may transpose or repeat.
    Copy = 0x2a "copy" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// The operand.
        src: View,
        /// The result.
        dst: View,
    }
    /// Copies rows of a table that lies in SRAM: row `index[i]` of the table becomes row i.
    /// A negative index counts from the end; an index outside the table is clamped to its last row.
    Lookup = 0x2b "lookup" on Vector {
        /// How many rows to copy.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// The indices: one row of i32 or i64 elements.
        index: View,
        /// The table: `table_rows` × cols.
        table: View,
        /// Rows of the table.
        table_rows: u32,
        /// The result.
        dst: View,
    }
    /// Copies rows to a table that lies in SRAM: row i becomes row `index[i]` of the table, in order of i.
    /// A negative index counts from the end; an index outside the table is clamped to its last row.
    Scatter = 0x2c "scatter" on Vector {
        /// How many rows to copy.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// The indices: one row of i32 or i64 elements.
        index: View,
        /// The rows.
        src: View,
        /// The result: `table_rows` × cols, of which other rows stay as they are.
        table: View,
        /// Rows of the table.
        table_rows: u32,
    }
    /// Sorts each row: the indices of its elements, smallest first, equal ones in their order.
    /// Elements are ordered as f32: -inf < … < -0 < +0 < … < +inf < NaN. The time is that of a bitonic
    /// network over the next power of two and does not depend on the elements.
    Sort = 0x2d "sort" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// The operand.
        src: View,
        /// The indices, i32.
        dst: View,
    }
    /// Running sums of each row: element j of the result is the sum of the elements up to j.
    Scan = 0x2f "scan" on Vector {
        /// How many rows.
        rows: Affine,
        /// Elements of a row.
        cols: Affine,
        /// The operand.
        src: View,
        /// The result.
        dst: View,
    }
}

/// The element type that a field of a command has, for those that choose at run time.
pub const FLOAT_ELEMS: [Elem; 2] = [Elem::F16, Elem::F32];
