//! Too little SRAM for any plan: how much the smallest one needs, and for what.

use packwright_ir::diag::Diagnostic;
use packwright_ir::{Graph, NodeId};
use packwright_target::Target;

use super::Segment;
use super::demand::Scene;
use super::slice;

/// What the smallest fragments of a way of forming segments take, where they do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall {
    /// Bytes of SRAM.
    pub need: u64,
    /// The first node of the segment that takes most.
    pub at: Option<NodeId>,
}

impl TooSmall {
    /// The less hungry of two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match other.need < self.need {
            true => other,
            false => self,
        }
    }
}

/// The smallest step from a size of SRAM that is too small to the next one that is tried: a part of it.
const STEP: u64 = 64;

/// What to say where nothing fits; `found` is what the smallest fragments take on this target. Fragments grow with SRAM,
/// so that may still be too little.
pub fn complaint(scene: &Scene<'_>, segments: &[Segment], found: TooSmall) -> Diagnostic {
    let mut least = found;
    loop {
        let mut target: Target = scene.target.clone();
        target.sram.bytes = least.need;
        let scene = Scene {
            target: &target,
            ..*scene
        };
        match slice::fits(&scene, segments) {
            Ok(()) => break,
            Err(more) => {
                let next = least.need + least.need / STEP + 1;
                least = TooSmall {
                    need: more.need.max(next),
                    ..more
                };
            }
        }
    }
    let TooSmall { need, at } = least;
    Diagnostic::unsupported(
        "plan-sram",
        format!(
            "the smallest plan needs {need} bytes of SRAM, the target has {}",
            scene.target.sram.bytes
        ),
    )
    .at(at.map_or_else(String::new, |node| described(scene.graph, node)))
    .help(format!(
        "raise sram.bytes (--set sram.bytes={}KiB), or shorten the sequence",
        need.div_ceil(1024)
    ))
}

/// A node as people know it: its operator and the layer of the model that it comes from.
fn described(graph: &Graph, node: NodeId) -> String {
    let origin = graph.origin(graph.origin_of(node));
    let name = graph.op(node).name();
    match origin.layer.is_empty() {
        true => format!("{name} ({node})"),
        false => format!("{name} of {} ({node})", origin.layer),
    }
}
