//! The time of schedules that work on one part of a model after the other.
//!
//! The bound on time lets every unit work whenever it likes. But an attention begins when the keys of all rows are made,
//! and where weights come once for all rows, what is done with whole rows waits for all columns of a product. So the
//! parts take turns: an attention with the products that make its operands, in which arrays and lanes work side by
//! side; then the products behind it, and the work on whole rows between them. DRAM is ahead by what SRAM holds at the
//! most. A plan may take less time, where one block of rows is in a part while another one is in the next.

use packwright_ir::{Graph, NodeId};
use packwright_target::Target;

use crate::bound::time::{lane_operations, lanes_per_second};
use crate::bound::{least_macs, value_bytes};
use crate::plan::Segment;
use crate::plan::constants::Layout;
use crate::plan::segment;
use crate::plan::stage::{self, Stage};
use crate::plan::storage::Storage;

/// What takes its turn.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Seconds of arrays and lanes.
    units: f64,
    /// Bytes that may come ahead, and those that leave when they are made.
    constants: f64,
    results: f64,
}

/// Seconds of all parts in turn, where a pass moves so many bytes.
pub fn seconds(
    graph: &Graph,
    target: &Target,
    storage: &Storage,
    layout: &Layout,
    dram_bytes: u64,
) -> f64 {
    let segments = segment::segments(graph, storage, stage::stages(graph, storage));
    let parts = segments.iter().map(|s| part(graph, target, layout, s));
    let parts: Vec<Part> = parts.collect();
    let known: f64 = parts.iter().map(|part| part.constants + part.results).sum();
    // What else there is to move is spread over all parts.
    let scale = dram_bytes as f64 / known.max(1.0);
    let rate = target.sustained_bytes_per_second();
    let (mut seconds, mut ahead) = (0.0, 0.0);
    for part in parts {
        let (constants, results) = (part.constants * scale, part.results * scale);
        let needed = f64::max(constants - ahead, 0.0) + results;
        let taken = part.units.max(needed / rate);
        let left = f64::max(ahead - constants, 0.0) + taken * rate - needed;
        ahead = left.min(target.sram.bytes as f64);
        seconds += taken;
    }
    seconds
}

fn part(graph: &Graph, target: &Target, layout: &Layout, segment: &Segment) -> Part {
    let gathers = segment.stages.iter().any(Segment::is_gathering);
    let (mut macs, mut beside, mut apart) = (0, 0, 0);
    let mut part = Part::default();
    for stage in &segment.stages {
        let operations = match stage {
            Stage::Rows { .. } if !gathers => &mut apart,
            _ => &mut beside,
        };
        for node in stage.nodes() {
            macs += least_macs(graph, node);
            *operations += lane_operations(graph, node);
            let constants = layout.of(node).iter().map(|&id| layout.brought(id));
            part.constants += constants.sum::<u64>() as f64;
            part.results += results(graph, node) as f64;
        }
    }
    let lanes = lanes_per_second(target);
    let products = macs as f64 / target.peak_macs_per_second();
    part.units = products.max(beside as f64 / lanes) + apart as f64 / lanes;
    part
}

/// Bytes of the results of the model that a node makes.
fn results(graph: &Graph, node: NodeId) -> u64 {
    let outputs = graph.outputs().iter().map(|output| output.value);
    let own = outputs.filter(|value| value.node == node);
    own.map(|value| value_bytes(graph, value)).sum()
}
