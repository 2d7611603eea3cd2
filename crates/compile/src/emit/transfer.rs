//! Transfers between DRAM and SRAM: tiles, inputs, spills, results.

use std::ops::Range;

use packwright_ir::NodeId;
use packwright_ir::diag::Diagnostic;
use packwright_packet::defs::{Command, Load, Store};
use packwright_packet::operand::{Affine, Block, DramRef};
use packwright_packet::program::RegionKind;

use super::address::{At, Site, Turn};
use super::matmul;
use super::regions::Regions;
use crate::plan::cache::Cache;
use crate::plan::constants::{Form, StoredId, Tile, TileId};
use crate::plan::stage::Stage;
use crate::plan::storage::{Place, RootId};
use crate::plan::window;

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
    if let Form::Cache(cache) = &site.plan.layout.get(info.stored).form {
        return load_plane(regions, cache, info);
    }
    vec![Command::Load(Load {
        dst: info.addr.into(),
        src: constant_ref(site, regions, info.stored, info.offset),
        block: match info.runs {
            1 => Block::run(info.bytes),
            runs => {
                let bytes = info.bytes / runs;
                Block::rows(runs, bytes, info.pitch, bytes as u32)
            }
        },
    })]
}

/// Brings the rows that a plane of a cache holds into the ring.
fn load_plane(regions: &Regions, cache: &Cache, tile: &Tile) -> Vec<Command> {
    let Some((region, capacity)) = regions.cache(&cache.name) else {
        return Vec::new();
    };
    let start = tile.offset / tile.bytes * cache.plane_bytes(capacity);
    let [elements, scale] = cache.row_parts();
    let parts = [
        (0, 0, elements),
        (
            cache.data_bytes(cache.rows()),
            cache.data_bytes(capacity),
            scale,
        ),
    ];
    parts
        .into_iter()
        .filter(|&(_, _, bytes)| bytes > 0)
        .map(|(sram, dram, bytes)| {
            Command::Load(Load {
                dst: (tile.addr + sram).into(),
                src: DramRef {
                    region,
                    offset: Affine::constant(start + dram),
                },
                block: Block::run(cache.at_position(0, bytes)),
            })
        })
        .collect()
}

/// Writes new rows of a cache behind those that it holds: a run for each head that a pass has made, elements and scales.
fn append(
    site: &Site<'_>,
    regions: &Regions,
    cache: &Cache,
    pass: Option<usize>,
    rows: Range<usize>,
) -> Vec<Command> {
    let (Some(added), Some((region, capacity))) = (cache.added, regions.cache(&cache.name)) else {
        return Vec::new();
    };
    let Some(place) = site.plan.storage.place(added) else {
        return Vec::new();
    };
    let turn = Turn {
        segment: maker(site, place),
        pass: pass.unwrap_or(0),
    };
    let heads = match pass {
        Some(_) => made_heads(site, cache, place, turn),
        None => std::iter::once(0..cache.heads).collect(),
    };
    let plane = cache.plane_bytes(capacity);
    let mut commands = Vec::new();
    let batches = (0..cache.batch).flat_map(|batch| heads.iter().map(move |heads| (batch, heads)));
    for (batch, heads) in batches {
        let own = batch * cache.new..(batch + 1) * cache.new;
        let (start, end) = (rows.start.max(own.start), rows.end.min(own.end));
        if start >= end {
            continue;
        }
        let area = site.place_columns(place, turn, start, heads.start * cache.width);
        let first = (start - own.start) as u64;
        let base = (batch * cache.heads + heads.start) as u64 * plane;
        let [elements, scale] = cache.row_parts();
        let parts = [
            (area.addr, area.pitch, 0, elements),
            (
                area.scale_addr,
                area.scale_pitch,
                cache.data_bytes(capacity),
                scale,
            ),
        ];
        for (addr, pitch, behind, bytes) in parts.into_iter().filter(|part| part.3 > 0) {
            let one = Affine::constant(1);
            commands.push(Command::Store(Store {
                dst: DramRef {
                    region,
                    offset: cache.at_position(base + behind + first * bytes, bytes),
                },
                src: addr.into(),
                block: Block {
                    count: [
                        one,
                        (heads.len() as u64).into(),
                        ((end - start) as u64).into(),
                    ],
                    bytes: bytes.into(),
                    dram: [0, plane, bytes],
                    sram: [0, bytes as u32, pitch as u32],
                },
            }));
        }
    }
    commands
}

/// The heads of a cache that a pass over the segment that makes them makes, in runs.
fn made_heads(site: &Site<'_>, cache: &Cache, place: Place, turn: Turn) -> Vec<Range<usize>> {
    let columns = site.pass_columns(place.root, turn).into_iter();
    let own = columns.map(|columns| {
        let column = |column: usize| column.saturating_sub(place.col).min(place.cols);
        column(columns.start) / cache.width..column(columns.end) / cache.width
    });
    own.filter(|heads| !heads.is_empty()).collect()
}

/// The segment that makes what lies in a place.
fn maker(site: &Site<'_>, place: Place) -> usize {
    let node = site.plan.storage.root(place.root).value.node;
    let holds = |stages: &[Stage]| stages.iter().any(|stage| stage.nodes().contains(&node));
    let segments = &site.plan.segments;
    segments
        .iter()
        .position(|segment| holds(&segment.stages))
        .unwrap_or(0)
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
        dst: site
            .root_area(root, Turn { segment, pass: 0 }, 0)
            .addr
            .into(),
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
    turn: Turn,
    rows: Range<usize>,
) -> Vec<Command> {
    spill_runs(site, regions, root, turn, rows)
        .into_iter()
        .map(|(sram, src, block)| {
            Command::Load(Load {
                dst: sram.into(),
                src,
                block,
            })
        })
        .collect()
}

/// Writes rows of a spilled value out: the columns of a pass.
pub fn spill(
    site: &Site<'_>,
    regions: &Regions,
    root: RootId,
    turn: Turn,
    rows: Range<usize>,
) -> Vec<Command> {
    spill_runs(site, regions, root, turn, rows)
        .into_iter()
        .map(|(sram, dst, block)| {
            Command::Store(Store {
                dst,
                src: sram.into(),
                block,
            })
        })
        .collect()
}

/// The runs of a spilled row block: elements, then scales. In DRAM all elements precede all scales, and all rows of
/// columns that come or go together lie together.
fn spill_runs(
    site: &Site<'_>,
    regions: &Regions,
    root: RootId,
    turn: Turn,
    rows: Range<usize>,
) -> Vec<(u64, DramRef, Block)> {
    let (Some(base), Some(region)) = (
        regions.spill_offset(root),
        regions.of_kind(RegionKind::Spill),
    ) else {
        return Vec::new();
    };
    let info = site.plan.storage.root(root);
    let (count, start) = (rows.len() as u64, rows.start as u64);
    let panel = window::panel(&site.plan.segments, root, info);
    let one = info.narrowed(panel);
    let block = |panels: u64, bytes: u64, pitch: u64| match bytes == pitch && panels == 1 {
        true => Block::run(count * bytes),
        false => Block {
            count: [1, panels, count].map(Affine::constant),
            bytes: bytes.into(),
            dram: [0, info.rows as u64 * bytes, bytes],
            sram: [0, bytes as u32, pitch as u32],
        },
    };
    let ranges = match site.comes_whole(root, turn.segment) {
        true => std::iter::once(0..info.cols).collect(),
        false => site.pass_columns(root, turn),
    };
    let mut runs = Vec::new();
    for columns in ranges {
        let area = site
            .root_columns(root, turn, rows.start, columns.start)
            .column(columns.start, info.group);
        let (first, panels) = ((columns.start / panel) as u64, columns.len() / panel);
        let elements = (area.addr, one.pitch(), area.pitch, 0);
        let scales = (
            area.scale_addr,
            one.scale_pitch(),
            area.scale_pitch,
            info.data_bytes(info.rows),
        );
        let parts = [elements, scales].into_iter();
        for (sram, bytes, pitch, plane) in parts.filter(|&(_, bytes, ..)| bytes > 0) {
            let row = first * info.rows as u64 + start;
            let dram = DramRef {
                region,
                offset: Affine::constant(base + plane + row * bytes),
            };
            runs.push((sram, dram, block(panels as u64, bytes, pitch)));
        }
    }
    runs
}

/// Writes the columns of a result out that a fragment has left in its scratch.
pub fn drain(
    site: &Site<'_>,
    regions: &Regions,
    output: usize,
    at: &At,
    columns: &Range<usize>,
    copy: u8,
) -> Result<Vec<Command>, Diagnostic> {
    let result = &site.graph.outputs()[output];
    let place = site
        .plan
        .storage
        .place(result.value)
        .ok_or_else(|| constant_result(&result.name))?;
    let root = site.plan.storage.root(place.root);
    let area = matmul::scratch_area(site, at, place.root, columns.len(), copy);
    let (count, start) = (at.block.len() as u64, at.block.start as u64);
    let before = columns.start as u64 * u64::from(root.elem.bytes());
    let block = match area.pitch == root.pitch() {
        true => Block::run(count * area.pitch),
        false => Block::rows(count, area.pitch, root.pitch(), area.pitch as u32),
    };
    Ok(vec![Command::Store(Store {
        dst: DramRef {
            region: regions.outputs[output].region,
            offset: Affine::constant(start * root.pitch() + before),
        },
        src: area.addr.into(),
        block,
    })])
}

fn constant_result(name: &str) -> Diagnostic {
    Diagnostic::unsupported("emit-constant-output", "a result is a constant")
        .at(name.to_string())
        .help("drop the output from the export")
}

/// Writes rows of a result of the model; rows count those of the root that holds it.
pub fn store_output(
    site: &Site<'_>,
    regions: &Regions,
    output: usize,
    pass: Option<usize>,
    rows: Range<usize>,
) -> Result<Vec<Command>, Diagnostic> {
    let result = &site.graph.outputs()[output];
    let place = site
        .plan
        .storage
        .place(result.value)
        .ok_or_else(|| constant_result(&result.name))?;
    let root = site.plan.storage.root(place.root);
    let segment = maker(site, place);
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
    if let Some(cache) = Cache::of(site.graph, result.value) {
        return Ok(append(site, regions, &cache, pass, first..end));
    }
    let region = regions
        .output(output)
        .expect("results that are no caches have regions");
    let area = site.place_area(place, Turn { segment, pass: 0 }, first);
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
