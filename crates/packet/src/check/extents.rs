//! Rules about where commands reach: bounds of SRAM and regions, regions that are not written.

use super::Scope;
use super::rule::{DRAM_BOUNDS, DRAM_READ_ONLY, IN_PLACE, SRAM_BOUNDS, VIEW_WRITTEN};
use crate::access::{Access, Mode, Place, accesses};
use crate::defs::Command;
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
        check_in_place(scope, command, &accesses);
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

/// Results have distinct elements, and overlap operands only as the same view.
fn check_in_place(scope: &mut Scope<'_>, command: &Command, accesses: &[Access]) {
    let mut views = Views::default();
    command.visit(&mut views);
    let writes = accesses
        .iter()
        .filter(|a| a.mode == Mode::Write && a.place == Place::Sram);
    for write in writes {
        let view = views.get(write.field);
        if let (Some(view), Some((rows, cols))) = (view, write.shape)
            && (rows > 1 && view.pitch == 0 || cols > 1 && view.step == 0)
        {
            scope.breach(
                &VIEW_WRITTEN,
                format!("{} repeats its elements", write.field),
            );
        }
        for other in accesses.iter().filter(|a| a.place == Place::Sram) {
            let same = std::ptr::eq(other, write) || other.field == write.field;
            let whole = is_whole(command, other.field);
            let matching = !whole && views.get(other.field).zip(view).is_some_and(same_bytes);
            if !same && !matching && overlap(other, write) {
                let message = format!("{} overlaps {}", write.field, other.field);
                scope.breach(&IN_PLACE, message);
            }
        }
    }
}

/// Whether a result depends on all of an operand instead of on its own row.
fn is_whole(command: &Command, field: &str) -> bool {
    match command {
        Command::Matmul(_) => matches!(field, "a" | "b"),
        Command::Lookup(_) => matches!(field, "table" | "index"),
        _ => false,
    }
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
