//! The integer sums of one tile of a product: operands are brought into a dense form a block of
//! the contraction at a time, then multiplied.

use std::ops::Range;

use super::area::Area;
use super::dot::{LANES, dot_bytes, dot_wide};

/// Rows of the left operand in a tile.
pub(super) const TILE_ROWS: usize = 128;
/// Columns of the result in a tile.
pub(super) const TILE_COLS: usize = 64;
/// Elements of the contraction that are multiplied at a time.
const BLOCK: usize = 512;
/// Rows of the left operand below which widening the right operand does not pay.
const FEW_ROWS: usize = 3;

/// Room for the dense operands and the sums of a tile.
#[derive(Debug, Default)]
pub(super) struct TileSums {
    a: Vec<i16>,
    b: Vec<i16>,
    bytes: Vec<u8>,
    sums: Vec<i32>,
    cols: usize,
}

impl TileSums {
    /// Makes room for `rows` × `cols` sums, all zero.
    pub(super) fn clear(&mut self, rows: usize, cols: usize) {
        self.cols = cols;
        self.sums.clear();
        self.sums.resize(rows * cols, 0);
    }

    /// A row of sums.
    pub(super) fn row(&self, i: usize) -> &[i32] {
        &self.sums[i * self.cols..(i + 1) * self.cols]
    }

    /// A row of sums, to be set.
    pub(super) fn row_mut(&mut self, i: usize) -> &mut [i32] {
        &mut self.sums[i * self.cols..(i + 1) * self.cols]
    }

    /// Adds `Σ a[i, k]·b[j, k]` over `range` to the sum of row i and column j.
    pub(super) fn accumulate(&mut self, sram: &[u8], a: &Area, b: &Area, range: Range<usize>) {
        let mut start = range.start;
        while start < range.end {
            let block = start..range.end.min(start + BLOCK);
            start = block.end;
            let (a, b) = (
                a.part(&(0..a.rows()), &block),
                b.part(&(0..b.rows()), &block),
            );
            if a.rows() < FEW_ROWS && b.step() == 1 {
                self.add_few(sram, &a, &b);
            } else {
                self.add_block(sram, &a, &b);
            }
        }
    }

    /// Adds the products of a block, both operands widened.
    fn add_block(&mut self, sram: &[u8], a: &Area, b: &Area) {
        let padded = widen(sram, a, &mut self.a);
        widen(sram, b, &mut self.b);
        let sums = self.sums.chunks_exact_mut(self.cols);
        for (a, sums) in self.a.chunks_exact(padded).zip(sums) {
            for (b, sum) in self.b.chunks_exact(padded).zip(sums) {
                *sum = sum.wrapping_add(dot_wide(a, b));
            }
        }
    }

    /// Adds the products of a block with few rows, the right operand read where it lies.
    fn add_few(&mut self, sram: &[u8], a: &Area, b: &Area) {
        self.bytes.resize(a.cols(), 0);
        for i in 0..a.rows() {
            a.pack_row(sram, i, &mut self.bytes);
            let sums = &mut self.sums[i * self.cols..(i + 1) * self.cols];
            for (j, sum) in sums.iter_mut().enumerate() {
                let b = &sram[b.at(j, 0)..][..b.cols()];
                *sum = sum.wrapping_add(dot_bytes(&self.bytes, b));
            }
        }
    }
}

/// Widens the int8 rows of `area` into dense rows, each padded with zeros; returns their length.
fn widen(sram: &[u8], area: &Area, out: &mut Vec<i16>) -> usize {
    let padded = area.cols().next_multiple_of(LANES);
    out.clear();
    out.resize(area.rows() * padded, 0);
    let value = |byte: u8| i16::from(byte as i8);
    if area.step() != 1 && area.pitch() == 1 {
        for k in 0..area.cols() {
            let column = &sram[area.at(0, k)..][..area.rows()];
            for (row, &byte) in out.chunks_exact_mut(padded).zip(column) {
                row[k] = value(byte);
            }
        }
        return padded;
    }
    for (i, row) in out.chunks_exact_mut(padded).enumerate() {
        let source = &sram[area.at(i, 0)..];
        if area.step() == 1 {
            for (y, &byte) in row[..area.cols()].iter_mut().zip(source) {
                *y = value(byte);
            }
        } else {
            for (k, y) in row[..area.cols()].iter_mut().enumerate() {
                *y = value(source[k * area.step()]);
            }
        }
    }
    padded
}
