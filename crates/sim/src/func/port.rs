//! Rows on their way between the bytes of SRAM and the f32 inside a unit.

use half::f16;
use packwright_numerics::half_float::{narrow_f16_row, widen_f16_row};
use packwright_numerics::quant::quantize;
use packwright_numerics::round::canonical;
use packwright_packet::operand::Elem;

use super::area::Area;

/// Elements that are converted together.
const BLOCK: usize = 64;

impl Area {
    /// Reads row `i` as f32.
    pub(super) fn read_row(&self, sram: &[u8], i: usize, row: &mut [f32]) {
        debug_assert_eq!(row.len(), self.cols(), "a whole row");
        let source = &sram[self.at(i, 0)..];
        match self.elem() {
            Elem::I8 => each(source, self.step(), row, |x| {
                f32::from(i8::from_le_bytes(x))
            }),
            Elem::F16 => read_f16(source, self.step(), row),
            Elem::I32 => each(source, self.step(), row, |x| i32::from_le_bytes(x) as f32),
            Elem::I64 => each(source, self.step(), row, |x| i64::from_le_bytes(x) as f32),
            Elem::F32 => each(source, self.step(), row, f32::from_le_bytes),
        }
    }

    /// Reads row `i` of i32 or i64 elements as they are; other types give zeros.
    pub(super) fn read_integers(&self, sram: &[u8], i: usize, row: &mut [i64]) {
        debug_assert_eq!(row.len(), self.cols(), "a whole row");
        let source = &sram[self.at(i, 0)..];
        match self.elem() {
            Elem::I32 => each(source, self.step(), row, |x| {
                i64::from(i32::from_le_bytes(x))
            }),
            Elem::I64 => each(source, self.step(), row, i64::from_le_bytes),
            Elem::I8 | Elem::F16 | Elem::F32 => row.fill(0),
        }
    }

    /// Reads row `i` of i32 elements as they are.
    pub(super) fn read_sums(&self, sram: &[u8], i: usize, row: &mut [i32]) {
        debug_assert_eq!(row.len(), self.cols(), "a whole row");
        each(&sram[self.at(i, 0)..], self.step(), row, i32::from_le_bytes);
    }
}

/// Converts elements of `N` bytes that lie `step` bytes apart.
fn each<T: Copy, const N: usize>(
    source: &[u8],
    step: usize,
    row: &mut [T],
    convert: impl Fn([u8; N]) -> T,
) {
    if step == N {
        for (y, &x) in row.iter_mut().zip(source.as_chunks::<N>().0) {
            *y = convert(x);
        }
    } else if step == 0 {
        if let Some(&x) = source.first_chunk::<N>() {
            row.fill(convert(x));
        }
    } else {
        for (j, y) in row.iter_mut().enumerate() {
            if let Some(&x) = source[j * step..].first_chunk::<N>() {
                *y = convert(x);
            }
        }
    }
}

/// Widens half-precision elements a block at a time.
fn read_f16(source: &[u8], step: usize, row: &mut [f32]) {
    let mut block = [f16::ZERO; BLOCK];
    for (b, row) in row.chunks_mut(BLOCK).enumerate() {
        let block = &mut block[..row.len()];
        each(&source[b * BLOCK * step..], step, block, f16::from_le_bytes);
        widen_f16_row(block, row);
    }
}

/// Rounds a row of f32 to tightly packed elements of type `elem`.
///
/// i8 elements are quantised with the factor `inverse`; integers are truncated towards zero and
/// saturate, with 0 for NaN.
pub(super) fn encode_row(elem: Elem, row: &[f32], inverse: f32, out: &mut [u8]) {
    match elem {
        Elem::I8 => encode(row, out, |x| quantize(x, inverse).to_le_bytes()),
        Elem::F16 => encode_f16(row, out),
        Elem::I32 => encode(row, out, |x| (x as i32).to_le_bytes()),
        Elem::I64 => encode(row, out, |x| (x as i64).to_le_bytes()),
        Elem::F32 => encode(row, out, |x| canonical(x).to_le_bytes()),
    }
}

/// Packs the images of elements.
pub(super) fn encode<T: Copy, const N: usize>(
    row: &[T],
    out: &mut [u8],
    convert: impl Fn(T) -> [u8; N],
) {
    for (y, &x) in out.as_chunks_mut::<N>().0.iter_mut().zip(row) {
        *y = convert(x);
    }
}

/// Narrows to half precision a block at a time.
fn encode_f16(row: &[f32], out: &mut [u8]) {
    let mut block = [f16::ZERO; BLOCK];
    for (row, out) in row.chunks(BLOCK).zip(out.chunks_mut(2 * BLOCK)) {
        let block = &mut block[..row.len()];
        narrow_f16_row(row, block);
        encode(block, out, f16::to_le_bytes);
    }
}
