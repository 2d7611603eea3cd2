//! Synthetic values: a function of name, seed and index, the same on every host.
//!
//! Element i of a tensor draws from `z_i = mix(base + (i + 1)·G)` with
//! `base = mix(fnv1a(name) xor seed·G)`, where `mix` is the finaliser of splitmix64 and
//! `G = 0x9e3779b97f4a7c15`. So any element can be made without the others.

use super::lanes::{self, Lanes};
use crate::konst::{Fill, FillKind};
use crate::tensor::Tensor;
use crate::ty::Type;

const G: u64 = 0x9e37_79b9_7f4a_7c15;
/// Standard deviation of the sum of four uniform 16-bit numbers, times the scale of a unit normal.
const SIGMA: f64 = 37_837.227_237_14;
/// Mean of that sum.
const MEAN: i64 = 131_070;

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The generator of one tensor.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    base: u64,
    kind: FillKind,
    /// The last two axes.
    rows: usize,
    columns: usize,
}

impl Stream {
    /// The generator of a rule for a tensor of the shape.
    pub fn new(name: &str, seed: u64, kind: FillKind, shape: &[usize]) -> Self {
        let axis = |from_end: usize| {
            shape
                .len()
                .checked_sub(from_end)
                .map_or(1, |axis| shape[axis].max(1))
        };
        let base = mix(fnv1a(name) ^ seed.wrapping_mul(G));
        Self {
            base,
            kind,
            rows: axis(2),
            columns: axis(1),
        }
    }

    fn draw(&self, index: usize) -> u64 {
        mix(self.base.wrapping_add((index as u64 + 1).wrapping_mul(G)))
    }

    /// The element at a row-major index, as a float.
    pub fn float(&self, index: usize) -> f32 {
        match self.kind {
            FillKind::Normal { std } => {
                let z = self.draw(index);
                let sum: i64 = (0..4)
                    .map(|lane| ((z >> (16 * lane)) & 0xffff) as i64)
                    .sum();
                ((sum - MEAN) as f64 * (std / SIGMA)) as f32
            }
            FillKind::Uniform { low, high } => {
                let unit = (self.draw(index) >> 11) as f64 / (1u64 << 53) as f64;
                (low + (high - low) * unit) as f32
            }
            FillKind::Constant { value } => value as f32,
            FillKind::UniformInt { .. } | FillKind::Arange | FillKind::Tril => {
                self.integer(index) as f32
            }
        }
    }

    /// The element at a row-major index, as an integer.
    pub fn integer(&self, index: usize) -> i64 {
        match self.kind {
            FillKind::UniformInt { low, high } => {
                let width = (high.wrapping_sub(low) as u64).wrapping_add(1);
                let z = self.draw(index);
                low.wrapping_add(if width == 0 { z } else { z % width } as i64)
            }
            FillKind::Arange => index as i64,
            FillKind::Tril => i64::from(index % self.columns <= (index / self.columns) % self.rows),
            FillKind::Constant { value } => value as i64,
            FillKind::Normal { .. } | FillKind::Uniform { .. } => self.float(index) as i64,
        }
    }
}

/// All elements of a tensor.
pub fn generate(name: &str, seed: u64, kind: FillKind, ty: &Type) -> Tensor {
    let stream = Stream::new(name, seed, kind, &ty.shape);
    let indices = 0..ty.elements();
    let lanes = if ty.elem.is_float() {
        Lanes::F32(indices.map(|i| stream.float(i)).collect())
    } else {
        Lanes::Int(indices.map(|i| stream.integer(i)).collect())
    };
    let mut tensor = lanes::store(ty.elem, &ty.shape, lanes);
    tensor.quant = ty.quant;
    tensor
}

/// The generator of a synthetic constant.
pub fn stream(fill: &Fill, ty: &Type) -> Stream {
    Stream::new(&fill.name, fill.seed, fill.kind, &ty.shape)
}

/// Standard normal numbers.
pub(super) fn random_normal(seed: u64, ty: &Type) -> Tensor {
    generate("", seed, FillKind::Normal { std: 1.0 }, ty)
}
