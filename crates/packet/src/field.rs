//! What each type of field looks like in bytes and in text: one implementation for each type.
//!
//! | type | bytes |
//! |---|---|
//! | `u32`, `u64` | a base-128 number |
//! | `f32` | four bytes, little-endian |
//! | `i8` | one byte |
//! | `bool`, small enums | one byte |
//! | `Affine` | `base·2 + t`; with t = 1 the register byte and the scale follow |
//! | `View` | a flag byte, the address, the pitch unless zero, the step unless usual |
//! | `DramRef` | the region, the offset |
//! | `Block` | a flag byte, the bytes, then count and strides of each dimension that is used |
//! | `Option` | as its contents: an optional field has the default `None`, so a bit of the command's mask says that it is there |

use crate::cursor::{Cursor, Expected};
use crate::decode::DecodeError;
use crate::operand::{
    Affine, BinaryFn, Block, DramRef, Elem, Hold, NormKind, ReduceKind, Reg, RegionId,
    RotaryLayout, UnaryFn, View,
};
use crate::spelling::Spelled;
use crate::varint::{Reader, put, put_scaled};

/// A type that a field of a command may have.
pub trait Field: Copy + PartialEq {
    /// Appends the bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes the bytes.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Appends the text, which holds no space. `field` is the name of the field.
    fn print(&self, field: &str, out: &mut String);

    /// Takes the text.
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected>;

    /// Whether both have the same bytes.
    fn same(&self, other: &Self) -> bool {
        self == other
    }

    /// Shows the parts that depend on registers or address SRAM.
    fn visit(&self, _field: &'static str, _visitor: &mut dyn Visitor) {}
}

/// Sees the operands of a command, field by field.
pub trait Visitor {
    /// A number that may depend on a register, also inside views, references and blocks.
    fn affine(&mut self, field: &'static str, value: &Affine);
    /// A view of SRAM.
    fn view(&mut self, field: &'static str, value: &View);
    /// A place in DRAM.
    fn dram(&mut self, field: &'static str, value: &DramRef);
}

/// Fields of type [`Affine`] that are SRAM addresses: hexadecimal in the text form.
const ADDRESS_FIELDS: [&str; 2] = ["dst", "src"];

impl Field for u32 {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, u128::from(*self));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.number()
    }

    fn print(&self, _field: &str, out: &mut String) {
        out.push_str(&self.to_string());
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
        cursor.number("a number below 2^32")
    }
}

impl Field for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, u128::from(*self));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.number()
    }

    fn print(&self, _field: &str, out: &mut String) {
        out.push_str(&self.to_string());
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
        cursor.number("a number below 2^64")
    }
}

impl Field for f32 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(f32::from_le_bytes(input.four()?))
    }

    fn print(&self, _field: &str, out: &mut String) {
        if self.is_nan() {
            out.push_str(&format!("nan:0x{:08x}", self.to_bits()));
        } else {
            out.push_str(&format!("{self:?}"));
        }
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
        let start = cursor.clone();
        if cursor.eat("nan:") {
            let value = f32::from_bits(cursor.number("the bits of an f32")?);
            return if value.is_nan() {
                Ok(value)
            } else {
                Err(start.expected("the bits of a NaN"))
            };
        }
        let value = cursor.until_space().parse::<f32>().ok();
        let value = value.filter(|value| !value.is_nan());
        value.ok_or_else(|| start.expected("a number such as 1.0 or 1e-5, inf, or nan:0x7fc00000"))
    }

    fn same(&self, other: &Self) -> bool {
        self.to_bits() == other.to_bits()
    }
}

impl Field for i8 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(input.byte()? as i8)
    }

    fn print(&self, _field: &str, out: &mut String) {
        out.push_str(&self.to_string());
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
        let start = cursor.clone();
        let value = cursor.until_space().parse::<i8>().ok();
        value.ok_or_else(|| start.expected("a whole number from -128 to 127"))
    }
}

impl Field for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = input.position();
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            code => Err(DecodeError::Code {
                at,
                what: "truth value",
                code: u64::from(code),
            }),
        }
    }

    fn print(&self, _field: &str, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
        if cursor.eat("true") {
            Ok(true)
        } else if cursor.eat("false") {
            Ok(false)
        } else {
            Err(cursor.expected("true or false"))
        }
    }
}

/// Takes the code of a member of a closed set.
fn decode_spelled<T: Spelled>(at: usize, code: u64) -> Result<T, DecodeError> {
    T::from_code(code).ok_or(DecodeError::Code {
        at,
        what: T::WHAT,
        code,
    })
}

/// One byte each, one word each.
macro_rules! spelled_fields {
    ($($ty:ty)*) => { $(
        impl Field for $ty {
            fn encode(&self, out: &mut Vec<u8>) {
                out.push(self.code());
            }

            fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let at = input.position();
                decode_spelled(at, u64::from(input.byte()?))
            }

            fn print(&self, _field: &str, out: &mut String) {
                out.push_str(self.name());
            }

            fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
                cursor.spelled()
            }
        }
    )* };
}

spelled_fields!(UnaryFn BinaryFn NormKind ReduceKind RotaryLayout Hold);

impl<T: Field> Field for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode(input).map(Some)
    }

    fn print(&self, field: &str, out: &mut String) {
        if let Some(value) = self {
            value.print(field, out);
        }
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
        T::parse(cursor).map(Some)
    }

    fn visit(&self, field: &'static str, visitor: &mut dyn Visitor) {
        if let Some(value) = self {
            value.visit(field, visitor);
        }
    }
}

/// Appends register and scale of a term.
fn put_term(out: &mut Vec<u8>, term: Option<(Reg, u64)>) {
    if let Some((reg, scale)) = term {
        out.push(reg.0);
        put(out, u128::from(scale));
    }
}

/// Takes register and scale of a term, where `there` says that they follow.
fn take_term(input: &mut Reader<'_>, there: bool) -> Result<Option<(Reg, u64)>, DecodeError> {
    if !there {
        return Ok(None);
    }
    Ok(Some((Reg(input.byte()?), input.number()?)))
}

/// Appends `base`, `base+scale*reg` or `scale*reg`.
fn print_affine(value: &Affine, hex: bool, out: &mut String) {
    let base = |base: u64| {
        if hex {
            format!("0x{base:x}")
        } else {
            base.to_string()
        }
    };
    match value.term {
        None => out.push_str(&base(value.base)),
        Some((reg, scale)) if value.base == 0 => out.push_str(&format!("{scale}*r{}", reg.0)),
        Some((reg, scale)) => out.push_str(&format!("{}+{scale}*r{}", base(value.base), reg.0)),
    }
}

impl Field for Affine {
    fn encode(&self, out: &mut Vec<u8>) {
        put(
            out,
            u128::from(self.base) * 2 + u128::from(self.term.is_some()),
        );
        put_term(out, self.term);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = input.position();
        let coded = input.wide()?;
        let base = u64::try_from(coded / 2).map_err(|_| DecodeError::Number { at })?;
        Ok(Self {
            base,
            term: take_term(input, coded & 1 == 1)?,
        })
    }

    fn print(&self, field: &str, out: &mut String) {
        print_affine(self, ADDRESS_FIELDS.contains(&field), out);
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
        let what = "a number such as 12, 0x40, 4*r0 or 12+4*r0";
        let first = cursor.number(what)?;
        if cursor.eat("*r") {
            let reg = Reg(cursor.number("a register number")?);
            return Ok(Self {
                base: 0,
                term: Some((reg, first)),
            });
        }
        if !cursor.eat("+") {
            return Ok(Self::constant(first));
        }
        let scale = cursor.number(what)?;
        cursor.require("*r")?;
        Ok(Self {
            base: first,
            term: Some((Reg(cursor.number("a register number")?), scale)),
        })
    }

    fn visit(&self, field: &'static str, visitor: &mut dyn Visitor) {
        visitor.affine(field, self);
    }
}

/// Flag bits of an encoded view, above the three bits of the element type.
const STEP_ZERO: u8 = 1 << 3;
const STEP_OTHER: u8 = 1 << 4;
const PITCH_ZERO: u8 = 1 << 5;
const ADDR_TERM: u8 = 1 << 6;

impl Field for View {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = self.elem.code();
        if self.step == 0 {
            flags |= STEP_ZERO;
        } else if self.step != self.elem.bytes() {
            flags |= STEP_OTHER;
        }
        if self.pitch == 0 {
            flags |= PITCH_ZERO;
        }
        if self.addr.term.is_some() {
            flags |= ADDR_TERM;
        }
        out.push(flags);
        put_scaled(out, self.addr.base);
        put_term(out, self.addr.term);
        if flags & PITCH_ZERO == 0 {
            put(out, u128::from(self.pitch));
        }
        if flags & STEP_OTHER != 0 {
            put(out, u128::from(self.step));
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = input.position();
        let flags = input.byte()?;
        if flags & 0x80 != 0 {
            return Err(DecodeError::Code {
                at,
                what: "flags of a view",
                code: u64::from(flags),
            });
        }
        let elem: Elem = decode_spelled(at, u64::from(flags & 7))?;
        let base = input.scaled()?;
        let term = take_term(input, flags & ADDR_TERM != 0)?;
        let pitch = if flags & PITCH_ZERO != 0 {
            0
        } else {
            input.number()?
        };
        let step = if flags & STEP_OTHER != 0 {
            input.number()?
        } else if flags & STEP_ZERO != 0 {
            0
        } else {
            elem.bytes()
        };
        Ok(Self {
            elem,
            addr: Affine { base, term },
            pitch,
            step,
        })
    }

    fn print(&self, _field: &str, out: &mut String) {
        out.push_str(self.elem.name());
        out.push('@');
        print_affine(&self.addr, true, out);
        out.push_str(&format!(":{}", self.pitch));
        if self.step != self.elem.bytes() {
            out.push_str(&format!("/{}", self.step));
        }
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
        let elem: Elem = cursor.spelled()?;
        cursor.require("@")?;
        let addr = Affine::parse(cursor)?;
        cursor.require(":")?;
        let pitch = cursor.number("the pitch in bytes")?;
        let step = if cursor.eat("/") {
            cursor.number("the step in bytes")?
        } else {
            elem.bytes()
        };
        Ok(Self {
            elem,
            addr,
            pitch,
            step,
        })
    }

    fn visit(&self, field: &'static str, visitor: &mut dyn Visitor) {
        visitor.affine(field, &self.addr);
        visitor.view(field, self);
    }
}

impl Field for DramRef {
    fn encode(&self, out: &mut Vec<u8>) {
        put(
            out,
            u128::from(self.region.0) * 2 + u128::from(self.offset.term.is_some()),
        );
        put_scaled(out, self.offset.base);
        put_term(out, self.offset.term);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = input.position();
        let coded = input.wide()?;
        let region = u16::try_from(coded / 2).map_err(|_| DecodeError::Number { at })?;
        let base = input.scaled()?;
        let term = take_term(input, coded & 1 == 1)?;
        Ok(Self {
            region: RegionId(region),
            offset: Affine { base, term },
        })
    }

    fn print(&self, _field: &str, out: &mut String) {
        out.push_str(&format!("d{}", self.region.0));
        if self.offset != Affine::constant(0) {
            out.push('+');
            print_affine(&self.offset, true, out);
        }
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
        let region = parse_region(cursor)?;
        let offset = if cursor.eat("+") {
            Affine::parse(cursor)?
        } else {
            Affine::constant(0)
        };
        Ok(Self { region, offset })
    }

    fn visit(&self, field: &'static str, visitor: &mut dyn Visitor) {
        visitor.affine(field, &self.offset);
        visitor.dram(field, self);
    }
}

/// Takes the name of a region, `d3`.
pub fn parse_region(cursor: &mut Cursor<'_>) -> Result<RegionId, Expected> {
    let what = "a region such as d3";
    let start = cursor.clone();
    if !cursor.eat("d") {
        return Err(start.expected(what));
    }
    cursor
        .number(what)
        .map(RegionId)
        .map_err(|_| start.expected(what))
}

/// Whether a dimension of a block is not used.
fn unused(block: &Block, dimension: usize) -> bool {
    block.count[dimension] == Affine::constant(1)
        && block.dram[dimension] == 0
        && block.sram[dimension] == 0
}

impl Field for Block {
    fn encode(&self, out: &mut Vec<u8>) {
        let used = (0..3).filter(|&d| !unused(self, d));
        out.push(used.clone().map(|d| 1 << d).sum());
        self.bytes.encode(out);
        for d in used {
            self.count[d].encode(out);
            put_scaled(out, self.dram[d]);
            put_scaled(out, u64::from(self.sram[d]));
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = input.position();
        let used = input.byte()?;
        if used > 7 {
            return Err(DecodeError::Code {
                at,
                what: "flags of a block",
                code: u64::from(used),
            });
        }
        let mut block = Block::run(Affine::decode(input)?);
        for d in (0..3).filter(|d| used & (1 << d) != 0) {
            block.count[d] = Affine::decode(input)?;
            block.dram[d] = input.scaled()?;
            block.sram[d] = input.scaled()?;
        }
        Ok(block)
    }

    fn print(&self, _field: &str, out: &mut String) {
        let first = (0..3).find(|&d| !unused(self, d)).unwrap_or(3);
        for d in first..3 {
            print_affine(&self.count[d], false, out);
            out.push_str(&format!("({}:{})x", self.dram[d], self.sram[d]));
        }
        print_affine(&self.bytes, false, out);
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Expected> {
        let mut dimensions = Vec::new();
        loop {
            let number = Affine::parse(cursor)?;
            if !cursor.eat("(") {
                let mut block = Block::run(number);
                let first = 3 - dimensions.len();
                for (d, (count, dram, sram)) in (first..).zip(dimensions) {
                    (block.count[d], block.dram[d], block.sram[d]) = (count, dram, sram);
                }
                return Ok(block);
            }
            if dimensions.len() == 3 {
                return Err(cursor.expected("at most three dimensions over the bytes"));
            }
            let dram = cursor.number("the DRAM stride in bytes")?;
            cursor.require(":")?;
            let sram = cursor.number("the SRAM stride in bytes")?;
            cursor.require(")x")?;
            dimensions.push((number, dram, sram));
        }
    }

    fn visit(&self, field: &'static str, visitor: &mut dyn Visitor) {
        for count in &self.count {
            visitor.affine(field, count);
        }
        visitor.affine(field, &self.bytes);
    }
}
