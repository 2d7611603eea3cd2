//! Weights of a few bits in blocks with a scale each.

use bytes::Bytes;
use packwright_ir::diag::Diagnostic;
use packwright_ir::konst::{Derivation, Source};
use packwright_ir::{ConstId, Elem, Quant, Type};

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::node::Node;
use crate::op::product::{multiply, with_bias};
use crate::values;

/// `com.microsoft.MatMulNBits`: the weights become the floats that they stand for. Numbers of four bits
/// without zero points are kept behind these floats, for who computes with them.
pub(crate) fn matmul_nbits(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let attrs = &node.attrs;
    if node.opt(4).is_some() {
        return Err(codes::form("an order of groups is not supported"));
    }
    let packing = Packing {
        rows: attrs.count("N")?,
        columns: attrs.count("K")?,
        bits: usize::try_from(attrs.int("bits", 4)?).unwrap_or(0),
        block: attrs.count("block_size")?,
    };
    packing.check()?;
    let (weight, scales) = (stored(b, node, 1)?, stored(b, node, 2)?);
    let zeros = match node.opt(3) {
        Some(_) => Some(stored(b, node, 3)?),
        None => None,
    };
    let id = match packing.kept(&zeros, &scales) {
        true => packing.packed(b, &weight, &scales)?,
        false => packing.unpacked(b, &weight, &scales, zeros)?,
    };
    let weight = Arg::Graph(b.graph.const_value(id));
    let product = multiply(b, node.arg(0)?, &weight, true, 1.0)?;
    Ok(vec![match node.opt(5) {
        Some(bias) => with_bias(b, &product, bias)?,
        None => product,
    }])
}

/// A matrix `[rows, columns]` whose rows are cut into blocks of numbers of a few bits.
#[derive(Clone, Copy, Debug)]
struct Packing {
    rows: usize,
    columns: usize,
    bits: usize,
    block: usize,
}

/// A stored operand: its name and elements, and its bytes where the file has them.
struct Packed {
    name: String,
    ty: Type,
    bytes: Option<Bytes>,
}

fn stored(b: &mut Builder, node: &Node<'_>, at: usize) -> Result<Packed, Diagnostic> {
    let arg = node.arg(at)?;
    let value = b.value(arg)?;
    let id = b
        .graph
        .as_const(value)
        .ok_or_else(|| codes::form("the weights are not stored"))?;
    let konst = b.graph.konst(id);
    let (name, ty) = (konst.name.clone(), konst.ty.clone());
    let bytes = match &konst.source {
        Source::Bytes(bytes) => Some(bytes.clone()),
        Source::Absent => None,
        Source::Synthetic(_) | Source::Derived(_) => {
            let tensor = packwright_ir::eval::konst::value(&b.graph, id)
                .map_err(|e| codes::fold(&e.to_string()))?;
            Some(Bytes::from(tensor.to_le_bytes()))
        }
    };
    Ok(Packed { name, ty, bytes })
}

impl Packing {
    fn check(&self) -> Result<(), Diagnostic> {
        let bits = matches!(self.bits, 2 | 4 | 8);
        let block = (16..=1 << 16).contains(&self.block) && self.block.is_power_of_two();
        if bits && block && self.rows > 0 && self.columns > 0 {
            values::need_shape(&[self.rows as i64, self.columns as i64], "the weights")?;
            return Ok(());
        }
        Err(codes::form(format!(
            "{} bits in blocks of {} are not supported",
            self.bits, self.block
        )))
    }

    fn blocks(&self) -> usize {
        self.columns.div_ceil(self.block)
    }

    fn block_bytes(&self) -> usize {
        self.block * self.bits / 8
    }

    /// Bytes of the zero points of a row.
    fn zero_bytes(&self) -> usize {
        (self.blocks() * self.bits).div_ceil(8)
    }

    /// Whether the numbers fit the int4 of the graph: whole blocks, and no zero but the usual one.
    fn kept(&self, zeros: &Option<Packed>, scales: &Packed) -> bool {
        let block = (32..=128).contains(&self.block) && self.columns.is_multiple_of(self.block);
        let scales = matches!(scales.ty.elem, Elem::F16 | Elem::F32);
        self.bits == 4 && block && scales && zeros.is_none()
    }

    /// The floats as what stored numbers stand for. Steps are kept in f16.
    fn packed(
        &self,
        b: &mut Builder,
        weight: &Packed,
        scales: &Packed,
    ) -> Result<ConstId, Diagnostic> {
        self.fits(weight, scales)?;
        let shape = [self.rows, self.columns];
        // Stored numbers are 8 more than what they mean; so the highest bit of each is turned.
        let values = weight.bytes.as_ref().map(|bytes| {
            let turned: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x88).collect();
            Bytes::from(turned)
        });
        let steps = scales.bytes.as_ref().map(|bytes| match scales.ty.elem {
            Elem::F16 => bytes.clone(),
            elem => {
                let halves = numbers(bytes, elem).into_iter().map(half::f16::from_f32);
                let halves: Vec<u8> = halves.flat_map(|x| x.to_le_bytes()).collect();
                Bytes::from(halves)
            }
        });
        let source = |bytes: Option<Bytes>| bytes.map_or(Source::Absent, Source::Bytes);
        let name = &weight.name;
        let blocks = [self.rows, self.blocks()];
        let values = b.add_const(
            &format!("{name}.values"),
            Type::new(Elem::I4, shape),
            source(values),
        );
        let steps = b.add_const(
            &format!("{name}.steps"),
            Type::new(Elem::F16, blocks),
            source(steps),
        );
        let quant = Quant::Block {
            axis: 0,
            group: self.block,
        };
        let of = b.add_const(
            &format!("{name}.int4"),
            Type::quantized(shape, quant),
            Source::Derived(Derivation::Scaled {
                of: [values, steps],
            }),
        );
        let floats = Source::Derived(Derivation::Dequantize { of });
        Ok(b.add_const(name, Type::new(Elem::F32, shape), floats))
    }

    fn fits(&self, weight: &Packed, scales: &Packed) -> Result<(), Diagnostic> {
        let (rows, blocks) = (self.rows, self.blocks());
        let fits = weight.ty.elem == Elem::U8
            && weight.ty.elements() == rows * blocks * self.block_bytes()
            && scales.ty.elements() == rows * blocks
            && matches!(scales.ty.elem, Elem::F32 | Elem::F16);
        if fits {
            return Ok(());
        }
        Err(codes::form(format!(
            "{} and {} are not {rows} rows of {blocks} blocks",
            weight.ty, scales.ty
        )))
    }

    /// The floats as a constant of their own; absent where the file lacks any part.
    fn unpacked(
        &self,
        b: &mut Builder,
        weight: &Packed,
        scales: &Packed,
        zeros: Option<Packed>,
    ) -> Result<ConstId, Diagnostic> {
        let (rows, blocks) = (self.rows, self.blocks());
        self.fits(weight, scales)?;
        let ty = Type::new(Elem::F32, [rows, self.columns]);
        b.unpacked += (ty.elements() - weight.ty.elements().min(ty.elements())) as u64;
        let zeros = match zeros {
            None => None,
            Some(zeros) => Some((self.zero_kind(&zeros)?, zeros.bytes)),
        };
        let source = match (&weight.bytes, &scales.bytes, &zeros) {
            (None, _, _) | (_, None, _) | (_, _, Some((_, None))) => Source::Absent,
            (Some(weight), Some(bytes), zeros) => {
                let scales = numbers(bytes, scales.ty.elem);
                let zeros = match zeros {
                    Some((Zeros::Packed, Some(bytes))) => self.packed_zeros(bytes),
                    Some((Zeros::Numbers(elem), Some(bytes))) => numbers(bytes, *elem),
                    Some((_, None)) | None => {
                        vec![(1u32 << (self.bits - 1)) as f32; rows * blocks]
                    }
                };
                Source::Bytes(self.values(weight, &scales, &zeros))
            }
        };
        Ok(b.add_const(&weight.name, ty, source))
    }

    fn zero_kind(&self, zeros: &Packed) -> Result<Zeros, Diagnostic> {
        let n = zeros.ty.elements();
        match zeros.ty.elem {
            Elem::U8 if n == self.rows * self.zero_bytes() => Ok(Zeros::Packed),
            elem @ (Elem::F32 | Elem::F16) if n == self.rows * self.blocks() => {
                Ok(Zeros::Numbers(elem))
            }
            _ => Err(codes::form(format!(
                "{} is not a zero for each block",
                zeros.ty
            ))),
        }
    }

    fn packed_zeros(&self, bytes: &[u8]) -> Vec<f32> {
        let row = |r: usize| &bytes[r * self.zero_bytes()..][..self.zero_bytes()];
        (0..self.rows)
            .flat_map(|r| (0..self.blocks()).map(move |at| f32::from(self.number(row(r), at))))
            .collect()
    }

    /// The number at a place of packed bytes; the first lies in the lowest bits.
    fn number(&self, bytes: &[u8], at: usize) -> u8 {
        let each = 8 / self.bits;
        let mask = ((1u16 << self.bits) - 1) as u8;
        bytes[at / each] >> (at % each * self.bits) & mask
    }

    fn values(&self, weight: &[u8], scales: &[f32], zeros: &[f32]) -> Bytes {
        let mut bytes = Vec::with_capacity(self.rows * self.columns * 4);
        for row in 0..self.rows {
            for block in 0..self.blocks() {
                let at = row * self.blocks() + block;
                let packed = &weight[at * self.block_bytes()..][..self.block_bytes()];
                let count = self.block.min(self.columns - block * self.block);
                for i in 0..count {
                    let q = f32::from(self.number(packed, i));
                    let value = (q - zeros[at]) * scales[at];
                    bytes.extend(value.to_le_bytes());
                }
            }
        }
        Bytes::from(bytes)
    }
}

/// How zeros are written.
#[derive(Clone, Copy, Debug)]
enum Zeros {
    Packed,
    Numbers(Elem),
}

fn numbers(bytes: &[u8], elem: Elem) -> Vec<f32> {
    let half = |c: &[u8]| half::f16::from_le_bytes([c[0], c[1]]).to_f32();
    let full = |c: &[u8]| f32::from_le_bytes([c[0], c[1], c[2], c[3]]);
    if elem == Elem::F16 {
        bytes.chunks_exact(2).map(half).collect()
    } else {
        bytes.chunks_exact(4).map(full).collect()
    }
}
