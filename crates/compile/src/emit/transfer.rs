//! Transfers between DRAM and SRAM: tiles, inputs, spills, results.

use std::ops::Range;

use packwright_ir::NodeId;
use packwright_ir::diag::Diagnostic;
use packwright_packet::defs::{Command, Load, Store};
use packwright_packet::operand::{Affine, Block, DramRef, RegionId};
use packwright_packet::program::RegionKind;

use super::address::Site;
use super::regions::Regions;
use crate::plan::constants::{StoredId, TileId};
use crate::plan::storage::RootId;

/// A place in the constants section, as a region and an offset in it.
pub fn constant_ref(site: &Site<'_>, regions: &Regions, stored: StoredId, offset: u64) -> DramRef {
    let layout = &site.plan.layout;
    let info = layout.get(stored);
    let (kind, base) = if info.table {
        (RegionKind::Embeddings, layout.weight_bytes)
    } else {
        (RegionKind::Weights, 0)
    };
    let region = regions
        .of_kind(kind)
        .expect("stored constants have a region");
    DramRef {
        region,
        offset: Affine::constant(info.offset - base + offset),
    }
}

/// Brings a tile into the ring.
pub fn load_tile(site: &Site<'_>, regions: &Regions, tile: TileId) -> Vec<Command> {
    let info = &site.plan.tiles[tile.0 as usize];
    vec![Command::Load(Load {
        dst: info.addr.into(),
        src: constant_ref(site, regions, info.stored, info.offset),
        block: Block::run(info.bytes),
    })]
}

/// Brings an input of the model in.
pub fn load_input(site: &Site<'_>, regions: &Regions, node: NodeId) -> Vec<Command> {
    let (Some(region), Some(root)) = (regions.input(node), site.plan.storage.root_of(node)) else {
        return Vec::new();
    };
    let info = site.plan.storage.root(root);
    let segment = site
        .plan
        .segments
        .iter()
        .position(|s| s.stages.iter().any(|stage| stage.nodes().contains(&node)))
        .unwrap_or(0);
    vec![Command::Load(Load {
        dst: site.root_area(root, segment, 0).addr.into(),
        src: DramRef {
            region,
            offset: Affine::constant(0),
        },
        block: Block::run(info.rows as u64 * info.pitch()),
    })]
}

/// Brings rows of a spilled value back.
pub fn fill(
    site: &Site<'_>,
    regions: &Regions,
    root: RootId,
    segment: usize,
    rows: Range<usize>,
) -> Vec<Command> {
    spill_runs(site, regions, root, segment, rows)
        .into_iter()
        .map(|(sram, dram, bytes)| {
            Command::Load(Load {
                dst: sram.into(),
                src: dram,
                block: Block::run(bytes),
            })
        })
        .collect()
}

/// Writes rows of a spilled value out.
pub fn spill(
    site: &Site<'_>,
    regions: &Regions,
    root: RootId,
    segment: usize,
    rows: Range<usize>,
) -> Vec<Command> {
    spill_runs(site, regions, root, segment, rows)
        .into_iter()
        .map(|(sram, dram, bytes)| {
            Command::Store(Store {
                dst: dram,
                src: sram.into(),
                block: Block::run(bytes),
            })
        })
        .collect()
}

/// The runs of a spilled row block: elements, then scales. In DRAM all elements precede all scales.
fn spill_runs(
    site: &Site<'_>,
    regions: &Regions,
    root: RootId,
    segment: usize,
    rows: Range<usize>,
) -> Vec<(u64, DramRef, u64)> {
    let (Some(base), Some(region)) = (
        regions.spill_offset(root),
        regions.of_kind(RegionKind::Spill),
    ) else {
        return Vec::new();
    };
    let info = site.plan.storage.root(root);
    let area = site.root_area(root, segment, rows.start);
    let count = rows.len() as u64;
    let start = rows.start as u64;
    let at = |offset: u64| DramRef {
        region,
        offset: Affine::constant(base + offset),
    };
    let mut runs = vec![(area.addr, at(start * info.pitch()), count * info.pitch())];
    if info.group.is_some() {
        let offset = info.data_bytes(info.rows) + start * info.scale_pitch();
        runs.push((area.scale_addr, at(offset), count * info.scale_pitch()));
    }
    runs
}

/// Writes rows of a result of the model; rows count those of the root that holds it.
pub fn store_output(
    site: &Site<'_>,
    regions: &Regions,
    output: usize,
    rows: Range<usize>,
) -> Result<Vec<Command>, Diagnostic> {
    let result = &site.graph.outputs()[output];
    let place = site.plan.storage.place(result.value).ok_or_else(|| {
        Diagnostic::unsupported("emit-constant-output", "a result is a constant")
            .at(result.name.clone())
            .help("drop the output from the export")
    })?;
    let region: RegionId = regions.outputs[output].region;
    let root = site.plan.storage.root(place.root);
    let node = root.value.node;
    let segment = site
        .plan
        .segments
        .iter()
        .position(|s| s.stages.iter().any(|stage| stage.nodes().contains(&node)))
        .unwrap_or(0);
    // Rows of the place among the rows that have been made.
    let first = rows
        .start
        .saturating_sub(place.row)
        .div_ceil(place.row_step);
    let end = rows
        .end
        .saturating_sub(place.row)
        .div_ceil(place.row_step)
        .min(place.rows);
    if first >= end {
        return Ok(Vec::new());
    }
    let area = site.place_area(place, segment, first);
    let width = place.cols as u64 * u64::from(root.elem.bytes());
    let count = (end - first) as u64;
    let dst = DramRef {
        region,
        offset: Affine::constant(first as u64 * width),
    };
    let block = if area.pitch == width {
        Block::run(count * width)
    } else {
        Block::rows(count, width, width, area.pitch as u32)
    };
    Ok(vec![Command::Store(Store {
        dst,
        src: area.addr.into(),
        block,
    })])
}
