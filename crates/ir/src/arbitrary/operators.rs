//! Operators of arbitrary graphs: attributes at random, operands that mostly fit.

use super::Grower;
use crate::id::{OriginId, Value};
use crate::infer;
use crate::op::{
    Activation, Attention, Binary, ChunkAttention, HashSort, Matmul, Op, Reduce, Unary,
};
use crate::ty::{Elem, Quant, Type};

impl Grower {
    pub(super) fn element_wise(&mut self) -> (Op, Vec<Value>) {
        match self.choose(6) {
            0 => {
                let f = self.one_of(Unary::ALL);
                let x = if f == Unary::Not {
                    self.value(Type::new(Elem::Bool, [4]))
                } else {
                    self.floats(0)
                };
                (Op::Unary(f), vec![x])
            }
            1 => {
                let x = self.any();
                let other = Type::new(self.graph.ty(x).elem, []);
                (
                    Op::Binary(self.one_of(Binary::ALL)),
                    vec![x, self.value(other)],
                )
            }
            2 => {
                let (a, b) = (
                    self.value(Type::new(Elem::Bool, [4, 1])),
                    self.value(Type::new(Elem::Bool, [3])),
                );
                (
                    Op::Binary(self.one_of(&[Binary::And, Binary::Or, Binary::Xor])),
                    vec![a, b],
                )
            }
            3 => {
                let cond = self.value(Type::new(Elem::Bool, [1]));
                (
                    Op::Where,
                    vec![cond, self.floats(0), self.value(Type::new(Elem::F16, []))],
                )
            }
            4 => (
                Op::Cast {
                    to: self.one_of(&Elem::ALL),
                },
                vec![self.any()],
            ),
            _ => {
                let x = self.floats(1);
                let group = self.graph.ty(x).columns().max(1);
                let quant = match self.choose(4) {
                    0 => Quant::Tensor {
                        scale: self.float().abs().max(1e-6),
                    },
                    3 => Quant::Affine {
                        scale: self.float().abs().max(1e-6),
                        zero: self.choose(256) as u8 as i8,
                    },
                    1 => Quant::Row {
                        group: if group == 4 { 2 } else { group },
                    },
                    _ => Quant::Channel { axis: 0 },
                };
                let id = infer::add(&mut self.graph, Op::Quantize { quant }, &[x], OriginId(0));
                let Ok(id) = id else {
                    return (Op::Where, vec![]);
                };
                self.values.push(id.into());
                (
                    Op::Dequantize {
                        to: self.float_elem(),
                    },
                    vec![id.into()],
                )
            }
        }
    }

    pub(super) fn layout(&mut self) -> (Op, Vec<Value>) {
        let x = self.any();
        let shape = self.graph.ty(x).shape.clone();
        let rank = shape.len();
        let op = match self.choose(6) {
            0 => Op::Reshape {
                shape: [&[1], &shape[..]].concat(),
            },
            1 => Op::Transpose {
                perm: (0..rank).rev().collect(),
            },
            2 => Op::Expand {
                shape: [&[2], &shape[..]].concat(),
            },
            3 => Op::Slice {
                start: shape.iter().map(|n| n / 2).collect(),
                count: shape.iter().map(|n| n - n / 2).collect(),
                step: vec![1; rank],
            },
            4 => Op::Slice {
                start: shape.iter().map(|n| n.saturating_sub(1)).collect(),
                count: shape.iter().map(|n| n.div_ceil(2)).collect(),
                step: vec![-2; rank],
            },
            _ => Op::Pad {
                before: vec![1; rank],
                after: (0..rank).map(|_| self.choose(3)).collect(),
                value: self.one_of(&[0.0, f32::NEG_INFINITY, -1e-7]),
            },
        };
        if self.choose(5) == 0 {
            let ty = self.graph.ty(x).clone();
            return (
                Op::Concat {
                    axis: self.choose(rank.max(1)),
                },
                vec![x, self.value(ty), x],
            );
        }
        (op, vec![x])
    }

    pub(super) fn indexing(&mut self) -> (Op, Vec<Value>) {
        let x = self.floats(1);
        let shape = self.graph.ty(x).shape.clone();
        let axis = self.choose(shape.len());
        let index = |shape: &[usize]| Type::new(Elem::I64, shape);
        match self.choose(9) {
            0 => {
                let indices = self.shape();
                (Op::Gather { axis }, vec![x, self.value(index(&indices))])
            }
            1 => (
                Op::GatherElements { axis },
                vec![x, self.value(index(&shape))],
            ),
            2 => (
                Op::ScatterElements { axis },
                vec![x, self.value(index(&shape)), x],
            ),
            3 => (Op::ScatterNd, vec![x, self.value(index(&[shape[0], 1])), x]),
            4 => (
                Op::TopK {
                    axis,
                    count: shape[axis] / 2,
                    largest: self.coin(),
                },
                vec![x],
            ),
            5 => (
                Op::ArgMax {
                    axis,
                    keep: self.coin(),
                },
                vec![x],
            ),
            6 => (Op::CumSum { axis }, vec![x]),
            7 => {
                let k = self.choose(5) as isize - 2;
                (
                    Op::Trilu {
                        upper: self.coin(),
                        k,
                    },
                    vec![self.floats(2)],
                )
            }
            _ => (
                Op::RandomNormal {
                    seed: self.choose(usize::MAX) as u64,
                },
                vec![x],
            ),
        }
    }

    pub(super) fn normalising(&mut self) -> (Op, Vec<Value>) {
        let x = self.floats(1);
        let shape = self.graph.ty(x).shape.clone();
        let row = Type::new(Elem::F32, [self.graph.ty(x).columns()]);
        let (affine, eps) = (self.coin(), self.one_of(&[1e-12, 1e-5, 0.0]));
        let (mut operands, count) = (vec![x], if affine { 2 } else { 0 });
        match self.choose(4) {
            0 => {
                let axes = (0..self.choose(shape.len() + 1)).collect();
                let kind = self.one_of(Reduce::ALL);
                (
                    Op::Reduce {
                        kind,
                        axes,
                        keep: self.coin(),
                    },
                    operands,
                )
            }
            1 => (
                Op::Softmax {
                    axis: shape.len() - 1,
                },
                operands,
            ),
            2 => {
                operands.extend((0..count).map(|_| self.value(row.clone())));
                (Op::LayerNorm { eps, affine }, operands)
            }
            _ => {
                operands.extend((0..count / 2).map(|_| self.value(row.clone())));
                (Op::RmsNorm { eps, affine }, operands)
            }
        }
    }

    pub(super) fn product(&mut self) -> (Op, Vec<Value>) {
        match self.choose(6) {
            0 => self.matmul(),
            1 => self.attention(),
            2 => self.hash_sort(),
            3 => self.chunk_attention(),
            4 => {
                let tables = 1 + self.choose(3);
                let mut operands = Vec::new();
                for _ in 0..tables {
                    operands.push(self.value(Type::new(Elem::I64, [2, 3])));
                    let quantized = Type::quantized([9, 4], Quant::Channel { axis: 0 });
                    let table = if self.coin() {
                        quantized
                    } else {
                        Type::new(Elem::F16, [9, 4])
                    };
                    operands.push(self.value(table));
                }
                (Op::Embedding { tables }, operands)
            }
            _ => {
                let angle = Type::new(Elem::F32, [3, self.one_of(&[1, 2])]);
                let elem = self.float_elem();
                let x = self.value(Type::new(elem, [2, 3, 8]));
                let operands = vec![x, self.value(angle.clone()), self.value(angle)];
                (
                    Op::Rotary {
                        heads: 2,
                        interleaved: self.coin(),
                    },
                    operands,
                )
            }
        }
    }

    fn matmul(&mut self) -> (Op, Vec<Value>) {
        let mut attrs = Matmul {
            parts: 1,
            transpose_b: self.coin(),
            alpha: if self.coin() { 1.0 } else { self.float() },
            bias: self.coin(),
            activation: if self.coin() {
                None
            } else {
                Some(self.one_of(Activation::ALL))
            },
            residual: self.coin(),
            out: self.float_elem(),
        };
        let (b_shape, axis) = if attrs.transpose_b {
            ([9, 8], 0)
        } else {
            ([8, 9], 1)
        };
        let mut operands = if self.coin() {
            attrs.parts = 1 + self.choose(2);
            let width = 8 * attrs.parts;
            let a = self.value(Type::quantized([2, 4, width], Quant::Row { group: 4 }));
            let quant = match self.choose(3) {
                0 => Quant::Channel { axis },
                1 => Quant::Shifted { axis },
                _ => Quant::Block { axis, group: 2 },
            };
            vec![a, self.value(Type::quantized(b_shape, quant))]
        } else {
            let elem = self.float_elem();
            vec![
                self.value(Type::new(elem, [2, 4, 8])),
                self.value(Type::new(Elem::F32, b_shape)),
            ]
        };
        if attrs.bias {
            operands.push(self.value(Type::new(Elem::F32, [9])));
        }
        if attrs.residual {
            operands.push(self.value(Type::new(Elem::F16, [2, 4, 9])));
        }
        (Op::Matmul(attrs), operands)
    }

    fn hash_sort(&mut self) -> (Op, Vec<Value>) {
        let attrs = HashSort {
            heads: 2,
            rounds: 1 + self.choose(2),
            factors: self.one_of(&[&[4][..], &[2, 6]]).to_vec(),
        };
        let lines = attrs.heads * attrs.rounds * attrs.coordinates();
        let elem = self.float_elem();
        let mut operands = vec![self.value(Type::new(elem, [1, 4, 6]))];
        if self.coin() {
            operands.push(self.value(Type::new(Elem::F32, [lines, 3])));
        } else {
            let part = Type::quantized([lines, 3], Quant::Channel { axis: 0 });
            operands.push(self.value(part.clone()));
            operands.push(self.value(part));
        }
        (Op::HashSort(attrs), operands)
    }

    fn chunk_attention(&mut self) -> (Op, Vec<Value>) {
        let attrs = ChunkAttention {
            heads: 2,
            chunk: 2,
            before: self.choose(2),
            after: self.choose(2),
            scale: self.float(),
            causal: self.coin(),
            hidden: self.float(),
            own: if self.coin() {
                None
            } else {
                Some(self.float())
            },
            shared: if self.coin() { None } else { Some(1e-6) },
            rounds: if self.coin() {
                None
            } else {
                Some(1 + self.choose(2))
            },
            seen: self.coin(),
            out: self.float_elem(),
        };
        let part = match self.coin() {
            true => Type::quantized([1, 6, 8], Quant::Row { group: 4 }),
            false => Type::new(Elem::F32, [1, 6, 8]),
        };
        let rows = if attrs.shared.is_some() { 2 } else { 3 };
        let mut operands: Vec<Value> = (0..rows).map(|_| self.value(part.clone())).collect();
        if let Some(rounds) = attrs.rounds {
            operands.push(self.value(Type::new(Elem::I32, [1, 2, 6 * rounds])));
        }
        if attrs.seen {
            operands.push(self.value(Type::new(Elem::Bool, [1, 6])));
        }
        (Op::ChunkAttention(attrs), operands)
    }

    fn attention(&mut self) -> (Op, Vec<Value>) {
        let mut attrs = Attention {
            heads: 4,
            kv_heads: self.one_of(&[1, 2, 4]),
            scale: self.float(),
            softcap: match self.coin() {
                true => Some(self.one_of(&[0.5, 30.0])),
                false => None,
            },
            causal: self.coin(),
            window: if self.coin() {
                None
            } else {
                Some(self.choose(9))
            },
            global: match self.coin() {
                true => vec![0, 2, 4],
                false => Vec::new(),
            },
            mask: self.coin(),
            row_mask: self.coin(),
            relative: false,
            replaced: match self.coin() {
                true => vec![0, 2],
                false => Vec::new(),
            },
            block: None,
            out: self.float_elem(),
        };
        let apart = attrs.global.is_empty() && attrs.replaced.is_empty();
        attrs.relative = attrs.softcap.is_none() && self.coin();
        if attrs.window.is_none() && apart && self.coin() {
            attrs.block = Some(16);
        }
        let quantized = self.coin();
        let part = |shape: [usize; 3]| match quantized {
            true => Type::quantized(shape, Quant::Row { group: 2 }),
            false => Type::new(Elem::F32, shape),
        };
        let mut operands = vec![self.value(part([1, 3, 16]))];
        operands.push(self.value(part([1, 5, 4 * attrs.kv_heads])));
        operands.push(self.value(part([1, 5, 2 * attrs.kv_heads])));
        if attrs.mask {
            operands.push(self.value(Type::new(Elem::F32, [3, 5])));
        }
        if attrs.row_mask {
            operands.push(self.value(Type::new(Elem::F32, [3, 1])));
        }
        if attrs.relative {
            operands.push(self.value(Type::new(Elem::F32, [4, 7])));
        }
        if !attrs.replaced.is_empty() {
            operands.push(self.value(Type::new(Elem::F32, [1, 2, 8])));
        }
        (Op::Attention(attrs), operands)
    }
}
