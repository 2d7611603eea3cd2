//! Whether a result may lie where an operand lies.

use super::area::Area;
use super::error::Fault;

/// How a command passes over its operands, which says where its result may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Elements are read more than once: the result lies elsewhere.
    Never,
    /// Element by element: the result may have the operand's very places.
    Elements,
    /// Row by row: the result's rows may also start where the operand's rows start and be narrower.
    Rows,
}

/// Refuses a result that overlaps an operand in a way that `sharing` does not allow.
pub(super) fn refuse_overlap(result: &Area, operand: &Area, sharing: Sharing) -> Result<(), Fault> {
    let in_place = match sharing {
        Sharing::Never => false,
        Sharing::Elements => same_places(result, operand),
        Sharing::Rows => same_places(result, operand) || row_on_row(result, operand),
    };
    if in_place || disjoint(result, operand) {
        Ok(())
    } else {
        Err(Fault::Overlap {
            field: result.field(),
            other: operand.field(),
        })
    }
}

/// Whether each element that both have lies in the same place.
///
/// One of them may have more columns. An element of the result is then over no element of a later
/// row of the operand, because elements of a result do not overlap each other.
fn same_places(a: &Area, b: &Area) -> bool {
    starts_together(a, b)
        && (a.step() == b.step() || a.cols().min(b.cols()) == 1)
        && a.elem_bytes() == b.elem_bytes()
}

/// Whether each row of `result` starts where the operand's row starts, and touches no other.
fn row_on_row(result: &Area, operand: &Area) -> bool {
    starts_together(result, operand)
        && result.row_span() <= operand.row_span()
        && (operand.row_span() <= operand.pitch() || operand.rows() == 1)
}

/// Whether both have as many rows and those start at the same addresses.
fn starts_together(a: &Area, b: &Area) -> bool {
    !a.is_empty()
        && a.rows() == b.rows()
        && a.at(0, 0) == b.at(0, 0)
        && (a.pitch() == b.pitch() || a.rows() == 1)
}

/// Whether the areas share no byte.
pub(super) fn disjoint(a: &Area, b: &Area) -> bool {
    let (span_a, span_b) = (a.span(), b.span());
    let shared = span_a.start.max(span_b.start)..span_a.end.min(span_b.end);
    if shared.is_empty() {
        return true;
    }
    let (a, b) = (Lattice::of(a), Lattice::of(b));
    if interleaved(&a, &b) {
        return true;
    }
    let mut taken = vec![false; shared.len()];
    let within = |start: usize, end: usize| {
        let clip = |x: usize| x.clamp(shared.start, shared.end) - shared.start;
        clip(start)..clip(end)
    };
    a.all_pieces(|start, end| {
        taken[within(start, end)].fill(true);
        true
    });
    b.all_pieces(|start, end| !taken[within(start, end)].contains(&true))
}

/// The bytes of an area as pieces on two strides, the larger one outside.
#[derive(Clone, Copy, Debug)]
struct Lattice {
    addr: usize,
    outer: (usize, usize),
    inner: (usize, usize),
    bytes: usize,
}

impl Lattice {
    /// The bytes of an area that is not empty; all of its span where its pieces overlap.
    fn of(area: &Area) -> Self {
        let once = |(count, stride)| if stride == 0 { (1, 0) } else { (count, stride) };
        let (rows, cols) = (
            once((area.rows(), area.pitch())),
            once((area.cols(), area.step())),
        );
        let (outer, mut inner) = if rows.1 < cols.1 {
            (cols, rows)
        } else {
            (rows, cols)
        };
        let (addr, mut bytes) = (area.at(0, 0), area.elem_bytes());
        if inner.1 <= bytes {
            bytes += (inner.0 - 1) * inner.1;
            inner = (1, 0);
        }
        let width = (inner.0 - 1) * inner.1 + bytes;
        if outer.0 > 1 && outer.1 < width {
            return Self {
                addr,
                outer: (1, 0),
                inner: (1, 0),
                bytes: area.span().len(),
            };
        }
        Self {
            addr,
            outer,
            inner,
            bytes,
        }
    }

    /// Bytes from the first to the last of one step of the outer stride.
    fn width(&self) -> usize {
        (self.inner.0 - 1) * self.inner.1 + self.bytes
    }

    /// Whether `holds(start, end)` for every piece.
    fn all_pieces(&self, mut holds: impl FnMut(usize, usize) -> bool) -> bool {
        (0..self.outer.0).all(|i| {
            (0..self.inner.0).all(|j| {
                let start = self.addr + i * self.outer.1 + j * self.inner.1;
                holds(start, start + self.bytes)
            })
        })
    }
}

/// Whether the areas are different columns of rows with one pitch.
fn interleaved(a: &Lattice, b: &Lattice) -> bool {
    let pitch = a.outer.1;
    if pitch == 0 || pitch != b.outer.1 || a.width() > pitch || b.width() > pitch {
        return false;
    }
    let (a_start, b_start) = (a.addr % pitch, b.addr % pitch);
    let ahead = |from: usize, to: usize| (to + pitch - from) % pitch;
    ahead(a_start, b_start) >= a.width() && ahead(b_start, a_start) >= b.width()
}
