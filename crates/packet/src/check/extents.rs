//! Rules about where commands reach: bounds of SRAM and regions, regions that are not written.

use super::Scope;
use super::rule::{DRAM_BOUNDS, DRAM_READ_ONLY, IN_PLACE, SRAM_BOUNDS, VIEW_WRITTEN};
use crate::access::{Access, Mode, Place, accesses};
use crate::defs::{Command, Load, Store};
use crate::field::Visitor;
use crate::operand::{Affine, DramRef, RegionId, View};
use crate::program::RegionKind;

/// Every access stays in its memory; what is written may be written.
pub fn check_extents(scope: &mut Scope<'_>, command: &Command) {
    let accesses = accesses(command, scope.maxima);
    let before = scope.problems.len();
    for access in &accesses {
        match access.place {
            Place::Sram => check_sram(scope, access),
            Place::Dram(region) => check_dram(scope, access, region),
        }
    }
    if scope.problems.len() == before {
        let mut views = Views::default();
        command.visit(&mut views);
        check_written(scope, command, &views, &accesses);
        check_in_place(scope, command, &views, &accesses);
    }
}

/// An access to SRAM stays inside it.
fn check_sram(scope: &mut Scope<'_>, access: &Access) {
    let Access { field, extent, .. } = access;
    let (end, size) = (extent.end(), scope.target.sram.bytes);
    if end > size {
        scope.breach(
            &SRAM_BOUNDS,
            format!("{field} ends at {end:#x}, the SRAM at {size:#x}"),
        );
    }
}

/// A transfer stays inside its region, which may be written if it is.
fn check_dram(scope: &mut Scope<'_>, access: &Access, region: RegionId) {
    let Access {
        field,
        extent,
        mode,
        ..
    } = access;
    let number = region.0;
    let Some(region) = scope.entry.regions.get(usize::from(number)) else {
        scope.breach(
            &DRAM_BOUNDS,
            format!("{field} names d{number}, which is not there"),
        );
        return;
    };
    let (end, size) = (extent.end(), region.bytes);
    if end > size {
        scope.breach(
            &DRAM_BOUNDS,
            format!("{field} ends at byte {end} of d{number}, which has {size}"),
        );
    }
    let writable = match region.kind {
        RegionKind::Weights | RegionKind::Embeddings | RegionKind::Input | RegionKind::Packets => {
            false
        }
        RegionKind::Output | RegionKind::Spill | RegionKind::State => true,
    };
    if *mode == Mode::Write && !writable {
        let message = format!("{field} writes to d{number}, a region of {}", region.kind);
        scope.breach(&DRAM_READ_ONLY, message);
    }
}

/// The views of a command by field.
#[derive(Default)]
struct Views(Vec<(&'static str, View)>);

impl Visitor for Views {
    fn affine(&mut self, _field: &'static str, _value: &Affine) {}

    fn view(&mut self, field: &'static str, value: &View) {
        self.0.push((field, *value));
    }

    fn dram(&mut self, _field: &'static str, _value: &DramRef) {}
}

impl Views {
    fn get(&self, field: &str) -> Option<&View> {
        self.0
            .iter()
            .find(|(name, _)| *name == field)
            .map(|(_, view)| view)
    }
}

/// Results overlap operands only as the same view or as narrower rows in the place of rows, and only where rows are read
/// before written.
fn check_in_place(scope: &mut Scope<'_>, command: &Command, views: &Views, accesses: &[Access]) {
    let writes = accesses
        .iter()
        .filter(|a| a.mode == Mode::Write && a.place == Place::Sram);
    for write in writes {
        let view = views.get(write.field);
        for other in accesses.iter().filter(|a| a.place == Place::Sram) {
            let same = std::ptr::eq(other, write) || other.field == write.field;
            let matching = by_row(command, write.field, other.field)
                && views.get(other.field).zip(view).is_some_and(|both| {
                    same_bytes(both) || narrows(command) && within_rows(both, (other, write))
                });
            if !same && !matching && overlap(other, write) {
                let message = format!("{} overlaps {}", write.field, other.field);
                scope.breach(&IN_PLACE, message);
            }
        }
    }
}

/// Whether a row of a result depends on no other row of an operand.
fn by_row(command: &Command, result: &str, operand: &str) -> bool {
    match command {
        Command::Matmul(_) => matches!(operand, "residual" | "acc"),
        Command::Norm(_) | Command::Quantize(_) | Command::Rotary(_) => {
            result == "dst" && operand == "src"
        }
        Command::Softmax(_) => result == "dst" && matches!(operand, "src" | "mask"),
        Command::Unary(_)
        | Command::Binary(_)
        | Command::Select(_)
        | Command::Fill(_)
        | Command::Dequantize(_)
        | Command::Reduce(_)
        | Command::Scan(_)
        | Command::Copy(_) => true,
        Command::Load(_)
        | Command::Store(_)
        | Command::Gather(_)
        | Command::Lookup(_)
        | Command::Scatter(_)
        | Command::Sort(_) => false,
    }
}

/// Whether a command may leave rows of narrower elements in the place of those that it reads.
fn narrows(command: &Command) -> bool {
    matches!(command, Command::Softmax(_))
}

/// Whether rows of a result begin where those of an operand do, and end within them.
fn within_rows((operand, result): (&View, &View), (read, written): (&Access, &Access)) -> bool {
    let span = |view: &View, access: &Access| {
        let (rows, cols) = access.shape?;
        let last = cols.checked_sub(1)?.checked_mul(u64::from(view.step))?;
        Some((rows, last + u64::from(view.elem.bytes())))
    };
    let (Some((rows, wide)), Some((made, narrow))) = (span(operand, read), span(result, written))
    else {
        return false;
    };
    let pitch = u64::from(operand.pitch);
    operand.addr == result.addr
        && operand.pitch == result.pitch
        && rows == made
        && narrow <= wide
        && (wide <= pitch || rows == 1)
}

/// Elements or runs that a command writes do not overlap each other.
fn check_written(scope: &mut Scope<'_>, command: &Command, views: &Views, accesses: &[Access]) {
    for write in accesses.iter().filter(|access| access.mode == Mode::Write) {
        let (counts, strides, bytes) = pieces(command, write, views, scope.maxima);
        if !distinct(counts, strides, bytes) {
            let message = format!("{} writes bytes more than once", write.field);
            scope.breach(&VIEW_WRITTEN, message);
        }
    }
}

/// The pieces that a command writes in one access: counts and strides of three directions, and the
/// bytes of a piece.
fn pieces(
    command: &Command,
    write: &Access,
    views: &Views,
    maxima: &[u64],
) -> ([u64; 3], [u64; 3], u64) {
    if let (Some(view), Some((rows, cols))) = (views.get(write.field), write.shape) {
        let strides = [u64::from(view.pitch), u64::from(view.step), 0];
        return ([rows, cols, 1], strides, u64::from(view.elem.bytes()));
    }
    let at = |value: Affine| value.at(maxima);
    match command {
        Command::Load(Load { block, .. }) => {
            let strides = block.sram.map(u64::from);
            (block.count.map(at), strides, at(block.bytes))
        }
        Command::Store(Store { block, .. }) => (block.count.map(at), block.dram, at(block.bytes)),
        Command::Gather(c) => {
            let strides = [u64::from(c.dst_pitch), 0, 0];
            ([at(c.count), 1, 1], strides, u64::from(c.row_bytes))
        }
        // These write views only.
        Command::Matmul(_)
        | Command::Unary(_)
        | Command::Binary(_)
        | Command::Select(_)
        | Command::Fill(_)
        | Command::Norm(_)
        | Command::Softmax(_)
        | Command::Quantize(_)
        | Command::Dequantize(_)
        | Command::Rotary(_)
        | Command::Reduce(_)
        | Command::Scan(_)
        | Command::Copy(_)
        | Command::Lookup(_)
        | Command::Scatter(_)
        | Command::Sort(_) => ([1; 3], [0; 3], write.extent.run),
    }
}

/// Whether pieces of `bytes` bytes, repeated in three directions, share no byte: each stride clears
/// all that lies on the smaller ones.
fn distinct(counts: [u64; 3], strides: [u64; 3], bytes: u64) -> bool {
    if bytes == 0 || counts.contains(&0) {
        return true;
    }
    let mut lattice = [0, 1, 2].map(|d| (strides[d], counts[d]));
    lattice.sort_unstable();
    let mut reach = bytes;
    for (stride, count) in lattice.into_iter().filter(|&(_, count)| count > 1) {
        if stride < reach {
            return false;
        }
        reach = reach.saturating_add((count - 1).saturating_mul(stride));
    }
    true
}

/// Whether two views have their elements in the same places.
fn same_bytes((a, b): (&View, &View)) -> bool {
    a.elem.bytes() == b.elem.bytes() && a.addr == b.addr && a.pitch == b.pitch && a.step == b.step
}

/// Whether two accesses share a byte.
fn overlap(a: &Access, b: &Access) -> bool {
    let apart = a.extent.end() <= b.extent.start || b.extent.end() <= a.extent.start;
    if apart || a.extent.is_empty() || b.extent.is_empty() {
        return false;
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    a.extent.intervals(&mut left);
    b.extent.intervals(&mut right);
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (left.get(i), right.get(j)) {
        if x.end <= y.start {
            i += 1;
        } else if y.end <= x.start {
            j += 1;
        } else {
            return true;
        }
    }
    false
}
