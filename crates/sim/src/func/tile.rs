//! The sums of one tile of a product: operands are brought into a dense form, group by group of the
//! contraction, then multiplied in blocks of rows and panels of columns.

use std::ops::Range;

use packwright_numerics::int4;
use packwright_numerics::matmul::{
    add_blocks_row, add_group_row, start_blocks_row, start_groups_row,
};

use super::area::Area;
use super::kernel::{
    PANEL, ROWS, Rows, Way, dot_four, multiply, multiply_scaled, pack_columns, widen_bytes,
};

/// Rows of the left operand in a tile.
pub(super) const TILE_ROWS: usize = 128;
/// Columns of the result in a tile.
pub(super) const TILE_COLS: usize = 64;
/// Pairs of a panel, 64 bytes each, that are multiplied with all rows before the next ones are.
const CACHED_PAIRS: usize = 256;
/// Rows of the left operand below which packing the right operand does not pay.
const FEW_ROWS: usize = 3;

/// Room for the dense operands and the sums of a tile.
#[derive(Debug)]
pub(super) struct TileSums {
    way: Way,
    a: Vec<i16>,
    panel: Vec<i16>,
    bytes: Vec<u8>,
    /// Columns of a packed right operand, a byte an element.
    unpacked: Vec<u8>,
    sums: Vec<i32>,
    cols: usize,
}

impl Default for TileSums {
    fn default() -> Self {
        Self {
            way: Way::best(),
            a: Vec::new(),
            panel: Vec::new(),
            bytes: Vec::new(),
            unpacked: Vec::new(),
            sums: Vec::new(),
            cols: 0,
        }
    }
}

/// The left operand of a tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) area: Area,
    /// Taken from each element.
    pub(super) zero: i8,
}

impl TileSums {
    /// Makes room for `rows` × `cols` sums, all zero.
    pub(super) fn clear(&mut self, rows: usize, cols: usize) {
        self.cols = cols;
        self.sums.clear();
        self.sums.resize(rows * cols, 0);
    }

    /// All sums, row after row.
    pub(super) fn all(&self) -> &[i32] {
        &self.sums
    }

    /// A row of sums.
    pub(super) fn row(&self, i: usize) -> &[i32] {
        &self.sums[i * self.cols..(i + 1) * self.cols]
    }

    /// A row of sums, to be set.
    pub(super) fn row_mut(&mut self, i: usize) -> &mut [i32] {
        &mut self.sums[i * self.cols..(i + 1) * self.cols]
    }

    /// Adds `Σ a[i, k]·b[j, k]` to the sum of row i and column j.
    pub(super) fn accumulate(&mut self, sram: &[u8], a: &Left, b: &Right<'_>) {
        let mut sums = std::mem::take(&mut self.sums);
        self.multiply(sram, a, b, 1, &mut Into::Sums(&mut sums));
        self.sums = sums;
    }

    /// Adds the sums of equal parts of the contraction, each with its scale, to `y` in order.
    pub(super) fn add_scaled(&mut self, sram: &[u8], a: &Left, b: &Right<'_>, scaled: Scaled<'_>) {
        let groups = scaled.parts;
        self.cols = b.area.rows();
        self.multiply(sram, a, b, groups, &mut Into::Scaled(scaled));
    }

    fn multiply(
        &mut self,
        sram: &[u8],
        a: &Left,
        b: &Right<'_>,
        groups: usize,
        into: &mut Into<'_>,
    ) {
        let as_they_are = a.zero == 0 && b.zeros.is_none();
        if a.area.rows() < FEW_ROWS && b.area.step() == 1 && as_they_are {
            self.few(sram, &a.area, b, groups, into);
        } else {
            self.blocks(sram, a, b, groups, into);
        }
    }

    /// Both operands widened, the right one a panel of columns at a time.
    fn blocks(
        &mut self,
        sram: &[u8],
        left: &Left,
        b: &Right<'_>,
        groups: usize,
        into: &mut Into<'_>,
    ) {
        let a = &left.area;
        let shape = Grouped::of(a.cols(), groups);
        widen(self.way, sram, left, &shape, &mut self.a);
        let row = |i: usize| &self.a[i * shape.row()..(i + 1) * shape.row()];
        let count = b.area.rows();
        for first in (0..count).step_by(PANEL) {
            let columns = first..count.min(first + PANEL);
            let lines = b.columns(sram, &columns, a.cols(), &mut self.unpacked);
            pack(self.way, &lines, columns.len(), &shape, &mut self.panel);
            if let Some(zeros) = b.zeros {
                shift(&zeros[columns.clone()], &mut self.panel);
            }
            for parts in shape.in_cache() {
                let block = Block {
                    way: self.way,
                    shape: &shape,
                    parts,
                    panel: &self.panel,
                    columns: &columns,
                    width: self.cols,
                };
                let mut start = 0;
                while start < a.rows() {
                    start += match a.rows() - start {
                        ROWS.. => block.multiply::<ROWS>(start, row, into),
                        2.. => block.multiply::<2>(start, row, into),
                        _ => block.multiply::<1>(start, row, into),
                    };
                }
            }
        }
    }

    /// Few rows, the right operand read where it lies.
    fn few(&mut self, sram: &[u8], a: &Area, b: &Right<'_>, groups: usize, into: &mut Into<'_>) {
        let length = a.cols() / groups.max(1);
        self.bytes.resize(a.cols(), 0);
        for i in 0..a.rows() {
            a.pack_row(sram, i, &mut self.bytes);
            let all = b.area.rows();
            for first in (0..all).step_by(4) {
                let count = (all - first).min(4);
                let lines = b.columns(sram, &(first..first + count), a.cols(), &mut self.unpacked);
                for g in 0..groups {
                    let part = g * length..(g + 1) * length;
                    // Columns that do not exist repeat the last one.
                    let column = |j: usize| {
                        &lines.bytes[j.min(count - 1) * lines.pitch + part.start..][..length]
                    };
                    let columns = [0, 1, 2, 3].map(column);
                    let sums = dot_four(self.way, &self.bytes[part.clone()], columns);
                    into.take(g, i, i * self.cols + first, self.cols, &sums[..count]);
                }
            }
        }
    }
}

/// The right operand of a tile.
#[derive(Debug)]
pub(super) struct Right<'a> {
    pub(super) area: Area,
    /// Whether a byte holds two elements.
    pub(super) packed: bool,
    /// Taken from each element of its column.
    pub(super) zeros: Option<&'a [i32]>,
}

/// Columns of a right operand, a byte an element.
struct Lines<'a> {
    bytes: &'a [u8],
    /// Bytes from one column to the next.
    pitch: usize,
    /// Bytes from one element of a column to the next.
    step: usize,
}

impl Right<'_> {
    /// Some columns where they lie, or unpacked into `room`.
    fn columns<'a>(
        &self,
        sram: &'a [u8],
        columns: &Range<usize>,
        k: usize,
        room: &'a mut Vec<u8>,
    ) -> Lines<'a> {
        let area = &self.area;
        if !self.packed {
            return Lines {
                bytes: sram.get(area.at(columns.start, 0)..).unwrap_or(&[]),
                pitch: area.pitch(),
                step: area.step(),
            };
        }
        room.resize(columns.len() * k, 0);
        for (column, line) in columns.clone().zip(room.chunks_exact_mut(k.max(1))) {
            let bytes = &sram[area.at(column, 0)..];
            for (pair, &byte) in line.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
                *pair = int4::unpacked(byte).map(|q| q as u8);
            }
        }
        Lines {
            bytes: room,
            pitch: k,
            step: 1,
        }
    }
}

/// Where scaled sums go.
#[derive(Debug)]
pub(super) struct Scaled<'a> {
    /// Equal parts of the contraction.
    pub(super) parts: usize,
    /// Scales of the left operand, `[row][part]`.
    pub(super) steps: &'a [f32],
    /// Steps of the right operand, `[part][column]`, where it has some.
    pub(super) columns: Option<&'a [f32]>,
    /// Whether the first part takes the place of what `y` holds.
    pub(super) start: bool,
    /// rows × columns.
    pub(super) y: &'a mut [f32],
}

/// What becomes of sums.
enum Into<'a> {
    /// They are added to those that are there.
    Sums(&'a mut [i32]),
    Scaled(Scaled<'a>),
}

impl Into<'_> {
    /// Takes the sums of a part of row `i`, whose first column lies at `at`.
    fn take(&mut self, part: usize, i: usize, at: usize, width: usize, sums: &[i32]) {
        match self {
            Into::Sums(all) => {
                for (sum, &own) in all[at..].iter_mut().zip(sums) {
                    *sum = sum.wrapping_add(own);
                }
            }
            Into::Scaled(scaled) => {
                let step = scaled.steps[i * scaled.parts + part];
                let y = &mut scaled.y[at..at + sums.len()];
                let first = part == 0 && scaled.start;
                match scaled.columns {
                    None if first => start_groups_row(sums, step, y),
                    None => add_group_row(sums, step, y),
                    Some(columns) => {
                        let columns = &columns[part * width + at - i * width..][..sums.len()];
                        if first {
                            start_blocks_row(sums, step, columns, y);
                        } else {
                            add_blocks_row(sums, step, columns, y);
                        }
                    }
                }
            }
        }
    }
}

/// A contraction in groups, each padded with zeros to whole pairs.
#[derive(Clone, Copy, Debug)]
struct Grouped {
    groups: usize,
    /// Elements of a group.
    length: usize,
    /// Pairs of a padded group.
    pairs: usize,
}

impl Grouped {
    fn of(k: usize, groups: usize) -> Self {
        let length = k / groups.max(1);
        Self {
            groups,
            length,
            pairs: length.div_ceil(2),
        }
    }

    /// Elements of a padded row.
    fn row(&self) -> usize {
        self.groups * self.pairs * 2
    }

    /// The groups in runs whose part of a panel stays in the nearest cache while all rows pass over it.
    fn in_cache(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let groups = self.groups;
        let run = (CACHED_PAIRS / self.pairs.max(1)).max(1);
        (0..groups)
            .step_by(run)
            .map(move |start| start..groups.min(start + run))
    }
}

/// A panel of columns, to be multiplied with rows.
struct Block<'a> {
    way: Way,
    shape: &'a Grouped,
    /// The groups that are multiplied.
    parts: Range<usize>,
    panel: &'a [i16],
    columns: &'a Range<usize>,
    /// Columns of the tile.
    width: usize,
}

impl Block<'_> {
    /// Multiplies the `M` rows from `start` on; returns how many they are.
    fn multiply<'a, const M: usize>(
        &self,
        start: usize,
        row: impl Fn(usize) -> &'a [i16],
        into: &mut Into<'_>,
    ) -> usize {
        let length = self.shape.pairs * 2;
        let own = |parts: &Range<usize>| Rows::<M> {
            rows: std::array::from_fn(|i| {
                &row(start + i)[parts.start * length..parts.end * length]
            }),
            pairs: self.shape.pairs,
            groups: parts.len(),
        };
        let panel = |parts: &Range<usize>| &self.panel[parts.start * length * PANEL..];
        let count = self.columns.len();
        let at = |i: usize| (start + i) * self.width + self.columns.start;
        match into {
            Into::Scaled(scaled @ Scaled { columns: None, .. }) => {
                let mut y = [[0.0; PANEL]; M];
                let first = scaled.start && self.parts.start == 0;
                if !first {
                    for (i, y) in y.iter_mut().enumerate() {
                        copy(count, &scaled.y[at(i)..], y);
                    }
                }
                let steps = std::array::from_fn(|i| {
                    &scaled.steps[(start + i) * scaled.parts..][self.parts.clone()]
                });
                let rows = own(&self.parts);
                multiply_scaled(self.way, &rows, panel(&self.parts), steps, first, &mut y);
                for (i, y) in y.iter().enumerate() {
                    copy(count, y, &mut scaled.y[at(i)..]);
                }
            }
            Into::Sums(_) | Into::Scaled(_) => {
                for part in self.parts.clone() {
                    let one = part..part + 1;
                    let mut sums = [[0; PANEL]; M];
                    multiply(self.way, &own(&one), panel(&one), &mut sums);
                    for (i, sums) in sums.iter().enumerate() {
                        into.take(part, start + i, at(i), self.width, &sums[..count]);
                    }
                }
            }
        }
        M
    }
}

/// Copies the first `count` elements, no more than a panel has; a whole panel as one array.
#[inline]
fn copy(count: usize, from: &[f32], to: &mut [f32]) {
    match (from.first_chunk::<PANEL>(), to.first_chunk_mut::<PANEL>()) {
        (Some(from), Some(to)) if count == PANEL => *to = *from,
        _ => to[..count].copy_from_slice(&from[..count]),
    }
}

/// The int8 rows of the left operand less its zero point, widened and padded.
fn widen(way: Way, sram: &[u8], left: &Left, shape: &Grouped, out: &mut Vec<i16>) {
    let area = &left.area;
    let row_length = shape.row();
    out.resize(area.rows() * row_length, 0);
    if row_length == 0 {
        return;
    }
    // Groups without padding are one.
    let padded = shape.pairs * 2;
    let (length, padded) = if shape.length == padded {
        (row_length, row_length)
    } else {
        (shape.length, padded)
    };
    for (i, row) in out.chunks_exact_mut(row_length).enumerate() {
        for (g, part) in row.chunks_exact_mut(padded).enumerate() {
            let source = &sram[area.at(i, g * length)..];
            let (part, padding) = part.split_at_mut(length);
            padding.fill(0);
            if area.step() == 1 {
                widen_bytes(way, &source[..length], left.zero, part);
            } else {
                for (k, y) in part.iter_mut().enumerate() {
                    *y = i16::from(source[k * area.step()] as i8) - i16::from(left.zero);
                }
            }
        }
    }
}

/// Takes the zero points of its columns from a panel; what it is padded with meets zeros.
fn shift(zeros: &[i32], panel: &mut [i16]) {
    for pair in panel.as_chunks_mut::<{ PANEL * 2 }>().0 {
        for (elements, &zero) in pair.as_chunks_mut::<2>().0.iter_mut().zip(zeros) {
            *elements = elements.map(|b| b.wrapping_sub(zero as i16));
        }
    }
}

/// Some columns of the right operand as a panel, each group padded with zeros; columns that do not exist
/// hold anything.
fn pack(way: Way, lines: &Lines<'_>, count: usize, shape: &Grouped, panel: &mut Vec<i16>) {
    let group = shape.pairs * 2 * PANEL;
    panel.resize(shape.groups * group, 0);
    if group == 0 {
        return;
    }
    for (g, panel) in panel.chunks_exact_mut(group).enumerate() {
        if !shape.length.is_multiple_of(2) {
            panel[group - 2 * PANEL..].fill(0);
        }
        let start = g * shape.length;
        let source = &lines.bytes[start * lines.step..];
        if lines.step == 1 {
            pack_columns(way, source, lines.pitch, count, shape.length, panel);
            continue;
        }
        for k in 0..shape.length {
            let to = &mut panel[(k / 2) * PANEL * 2 + k % 2..];
            let from = &source[k * lines.step..];
            for j in 0..count {
                to[2 * j] = i16::from(from[j * lines.pitch] as i8);
            }
        }
    }
}
