//! A view of SRAM whose address and extents are known and checked: the elements that it reaches
//! all lie within SRAM.

use std::ops::Range;

use packwright_packet::operand::{Elem, View};

use super::error::Fault;

/// `rows` × `cols` elements of SRAM; element `(i, j)` lies at `addr + i·pitch + j·step`.
///
/// The private fields hold the invariant: every element lies within the SRAM that the area was
/// made for, and no product or sum of them overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    field: &'static str,
    elem: Elem,
    addr: usize,
    pitch: usize,
    step: usize,
    rows: usize,
    cols: usize,
}

impl Area {
    /// Checks the elements of `view`, whose address is `addr`, against an SRAM of `sram` bytes.
    pub(super) fn new(
        field: &'static str,
        view: &View,
        addr: u64,
        [rows, cols]: [usize; 2],
        sram: usize,
    ) -> Result<Self, Fault> {
        let elem = view.elem;
        let (pitch, step) = (u64::from(view.pitch), u64::from(view.step));
        if rows == 0 || cols == 0 {
            return Ok(Self {
                field,
                elem,
                addr: 0,
                pitch: 0,
                step: 0,
                rows,
                cols,
            });
        }
        let reach = |count: usize, stride: u64| (count as u64 - 1).checked_mul(stride);
        let end = reach(rows, pitch)
            .zip(reach(cols, step))
            .and_then(|(down, across)| down.checked_add(across))
            .and_then(|last| last.checked_add(addr))
            .and_then(|last| last.checked_add(u64::from(elem.bytes())))
            .ok_or(Fault::AddressOverflow { field })?;
        if end > sram as u64 {
            return Err(Fault::OutsideSram {
                field,
                end,
                bytes: sram as u64,
            });
        }
        let (pitch, step) = (view.pitch as usize, view.step as usize);
        Ok(Self {
            field,
            elem,
            addr: addr as usize,
            pitch,
            step,
            rows,
            cols,
        })
    }

    /// The field of the command that the area comes from.
    pub(super) fn field(&self) -> &'static str {
        self.field
    }

    /// Type of an element.
    pub(super) fn elem(&self) -> Elem {
        self.elem
    }

    /// Bytes of an element.
    pub(super) fn elem_bytes(&self) -> usize {
        self.elem.bytes() as usize
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes from one row to the next.
    pub(super) fn pitch(&self) -> usize {
        self.pitch
    }

    /// Bytes from one element of a row to the next.
    pub(super) fn step(&self) -> usize {
        self.step
    }

    /// Whether there is no element.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0 || self.cols == 0
    }

    /// Address of element `(i, j)`.
    pub(super) fn at(&self, i: usize, j: usize) -> usize {
        self.addr + i * self.pitch + j * self.step
    }

    /// Bytes from the first to the last byte of a row.
    pub(super) fn row_span(&self) -> usize {
        self.cols.saturating_sub(1) * self.step + self.elem_bytes()
    }

    /// Bytes of a row that is packed tightly.
    pub(super) fn row_bytes(&self) -> usize {
        self.cols * self.elem_bytes()
    }

    /// All bytes from the first to the last.
    pub(super) fn span(&self) -> Range<usize> {
        if self.is_empty() {
            return 0..0;
        }
        self.addr..self.at(self.rows - 1, self.cols - 1) + self.elem_bytes()
    }

    /// The part of the area in the given rows and columns, which must be within it.
    pub(super) fn part(&self, rows: &Range<usize>, cols: &Range<usize>) -> Self {
        debug_assert!(
            rows.end <= self.rows && cols.end <= self.cols,
            "a part of the area"
        );
        let addr = self.at(rows.start, cols.start);
        Self {
            addr,
            rows: rows.len(),
            cols: cols.len(),
            ..*self
        }
    }

    /// The area, if its elements have one of the given types.
    pub(super) fn of_type(self, allowed: &[Elem]) -> Result<Self, Fault> {
        if allowed.contains(&self.elem) {
            Ok(self)
        } else {
            Err(Fault::ElementType {
                field: self.field,
                elem: self.elem,
            })
        }
    }

    /// The area as a destination: no two elements share a byte.
    ///
    /// The test is that the elements of the direction with the smaller stride fit between those of
    /// the other direction; all layouts of rows, columns and tiles do.
    pub(super) fn writable(self) -> Result<Self, Fault> {
        let lanes = [(self.rows, self.pitch), (self.cols, self.step)];
        if self.is_empty() || distinct(&lanes, self.elem_bytes()) {
            Ok(self)
        } else {
            Err(Fault::SelfOverlap { field: self.field })
        }
    }

    /// The element-sized pieces of row `i` as they lie in memory, tightly packed into `out`.
    pub(super) fn pack_row(&self, sram: &[u8], i: usize, out: &mut [u8]) {
        let start = self.at(i, 0);
        if self.step == self.elem_bytes() {
            out.copy_from_slice(&sram[start..start + out.len()]);
            return;
        }
        match self.elem {
            Elem::I8 => pick::<1>(&sram[start..], self.step, out),
            Elem::F16 => pick::<2>(&sram[start..], self.step, out),
            Elem::I32 | Elem::F32 => pick::<4>(&sram[start..], self.step, out),
            Elem::I64 => pick::<8>(&sram[start..], self.step, out),
        }
    }

    /// Writes tightly packed elements to row `i`.
    pub(super) fn unpack_row(&self, sram: &mut [u8], i: usize, row: &[u8]) {
        let start = self.at(i, 0);
        if self.step == self.elem_bytes() {
            sram[start..start + row.len()].copy_from_slice(row);
            return;
        }
        match self.elem {
            Elem::I8 => place::<1>(&mut sram[start..], self.step, row),
            Elem::F16 => place::<2>(&mut sram[start..], self.step, row),
            Elem::I32 | Elem::F32 => place::<4>(&mut sram[start..], self.step, row),
            Elem::I64 => place::<8>(&mut sram[start..], self.step, row),
        }
    }
}

/// Packs elements of `N` bytes that lie `step` bytes apart.
fn pick<const N: usize>(source: &[u8], step: usize, out: &mut [u8]) {
    for (j, out) in out.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        out.copy_from_slice(&source[j * step..j * step + N]);
    }
}

/// Lays packed elements of `N` bytes `step` bytes apart.
fn place<const N: usize>(target: &mut [u8], step: usize, row: &[u8]) {
    for (j, element) in row.as_chunks::<N>().0.iter().enumerate() {
        target[j * step..j * step + N].copy_from_slice(element);
    }
}

/// Whether pieces of `bytes` bytes on a lattice of `(count, stride)` share no byte, by the test
/// that each stride clears all that lies on the smaller ones.
pub(super) fn distinct(lattice: &[(usize, usize)], bytes: usize) -> bool {
    let mut lattice: Vec<_> = lattice.iter().filter(|&&(count, _)| count > 1).collect();
    lattice.sort_by_key(|&&(_, stride)| stride);
    let mut extent = Some(bytes);
    for &&(count, stride) in &lattice {
        if extent.is_none_or(|extent| stride < extent) {
            return false;
        }
        extent = (count - 1)
            .checked_mul(stride)
            .zip(extent)
            .and_then(|(a, b)| a.checked_add(b));
    }
    true
}
