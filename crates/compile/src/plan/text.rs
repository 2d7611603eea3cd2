//! Text form of a plan: segments, what stays where and why, bytes.

use std::fmt::Write as _;

use indexmap::IndexSet;
use packwright_ir::{Graph, Op};
use packwright_packet::program::Bound;

use super::cache::Cache;
use super::stage::Stage;
use super::storage::RootId;
use super::{Fragment, Home, Plan, place};

/// DRAM bytes that the fragments of a plan move, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Constants that stream through the ring.
    pub tiles: u64,
    /// Rows of embedding tables.
    pub gathered: u64,
    pub inputs: u64,
    pub outputs: u64,
    pub filled: u64,
    pub spilled: u64,
}

impl Traffic {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.tiles + self.gathered + self.inputs + self.outputs + self.filled + self.spilled
    }
}

/// Adds up what a plan moves, without the packet stream.
pub fn traffic(graph: &Graph, plan: &Plan) -> Traffic {
    let mut traffic = Traffic::default();
    let refilled: IndexSet<(RootId, usize)> = plan
        .buffers
        .iter()
        .filter_map(|buffer| match buffer.home {
            Home::Refilled { root, segment } => Some((root, segment)),
            _ => None,
        })
        .collect();
    let spilled = |root: RootId, segment: usize, rows: usize| {
        let info = plan.storage.root(root);
        let window = plan.segments[segment].passes.window(root);
        let window = window.filter(|_| !refilled.contains(&(root, segment)));
        let info = window.map_or(info.clone(), |window| info.narrowed(window.columns()));
        rows as u64 * (info.pitch() + info.scale_pitch())
    };
    for fragment in &plan.fragments {
        match fragment {
            Fragment::LoadTile { tile } => traffic.tiles += plan.tiles[tile.0 as usize].bytes,
            Fragment::LoadInput { node } => traffic.inputs += graph.types(*node)[0].bytes() as u64,
            Fragment::Fill {
                root,
                segment,
                rows,
                ..
            } => traffic.filled += spilled(*root, *segment, rows.len()),
            Fragment::Spill {
                root,
                segment,
                rows,
                ..
            } => traffic.spilled += spilled(*root, *segment, rows.len()),
            Fragment::StoreOutput { output, pass, rows } => {
                let value = graph.outputs()[*output].value;
                let width = match (Cache::of(graph, value), plan.storage.place(value)) {
                    (Some(cache), _) => cache.heads as u64 * cache.row_bytes(),
                    (None, Some(place)) => {
                        place.cols as u64 * u64::from(plan.storage.root(place.root).elem.bytes())
                    }
                    (None, None) => 0,
                };
                let parts = pass.map_or(1, |(_, count)| count);
                traffic.outputs += rows.len() as u64 * width / parts as u64;
            }
            Fragment::Drain {
                output,
                rows,
                columns,
                ..
            } => {
                let place = plan.storage.place(graph.outputs()[*output].value);
                let elem = place.map_or(0, |place| plan.storage.root(place.root).elem.bytes());
                traffic.outputs += (rows.len() * columns.len()) as u64 * u64::from(elem);
            }
            Fragment::Work {
                segment,
                stage,
                rows,
                ..
            } => {
                let Stage::Rows { nodes } = &plan.segments[*segment].stages[*stage] else {
                    continue;
                };
                for &node in nodes
                    .iter()
                    .filter(|n| matches!(graph.op(**n), Op::Embedding { .. }))
                {
                    traffic.gathered += plan
                        .layout
                        .of(node)
                        .iter()
                        .map(|&id| plan.layout.get(id))
                        .filter(|stored| stored.table && !super::demand::is_small_table(stored))
                        .map(|stored| rows.len() as u64 * stored.record())
                        .sum::<u64>();
                }
            }
        }
    }
    traffic
}

/// Prints a plan: how near it comes to its bound and why not nearer, and one line a stage, with the bytes of SRAM
/// that are alive while it runs.
pub fn print(graph: &Graph, plan: &Plan, bound: &Bound) -> String {
    let mut out = String::new();
    let live = place::live(&plan.buffers, 1);
    let (peak, _) = place::live_peak(&plan.buffers, 1);
    let end = plan.buffers.iter().map(|b| b.addr + b.bytes).max();
    let _ = writeln!(
        out,
        "plan {} : sram {}, of which buffers {} for at most {peak} bytes alive at once",
        graph.name,
        plan.sram_peak,
        end.unwrap_or(0),
    );
    let traffic = traffic(graph, plan);
    let _ = writeln!(
        out,
        "  dram {} : {}",
        traffic.total(),
        distance(plan, &traffic, bound)
    );
    let mut step = 0;
    for (index, segment) in plan.segments.iter().enumerate() {
        let blocks = segment.block_count();
        let passes = match segment.passes.count {
            1 => String::new(),
            count => format!(", {count} passes over its columns"),
        };
        let _ = writeln!(
            out,
            "  segment {index} : {} rows in {blocks} block{}{passes}{} through {} bytes",
            segment.rows,
            if blocks == 1 { "" } else { "s" },
            match (blocks, segment.resident) {
                (1, _) => ", constants streamed once",
                (_, true) => ", constants stay for all blocks",
                (_, false) => ", constants streamed for each block",
            },
            plan.rooms[index].bytes,
        );
        for stage in &segment.stages {
            let live = live.get(step).copied().unwrap_or(0);
            let names: Vec<String> = stage.nodes().iter().map(ToString::to_string).collect();
            let _ = writeln!(out, "    {} {} ; live {live}", kind(stage), names.join(" "));
            step += 1;
        }
    }
    for root in plan.spilled() {
        let info = plan.storage.root(root);
        let bytes = info.bytes(info.rows);
        let _ = writeln!(out, "  spilled {} : {bytes} bytes", info.value);
    }
    for buffer in &plan.buffers {
        let Some(root) = buffer.home.root() else {
            continue;
        };
        let _ = writeln!(
            out,
            "  buffer {} : {:#x} + {} steps {}..{}",
            plan.storage.root(root).value,
            buffer.addr,
            buffer.bytes,
            buffer.life.start,
            buffer.life.end
        );
    }
    out
}

/// How far the bytes of a plan are from the least, and what makes them more.
fn distance(plan: &Plan, traffic: &Traffic, bound: &Bound) -> String {
    let least = bound.dram_bytes;
    let constants = plan
        .layout
        .stored
        .iter()
        .filter(|s| s.is_constant() && !s.table);
    let once: u64 = constants.map(|s| s.bytes).sum();
    let reasons: Vec<String> = [
        ("of constants again", traffic.tiles.saturating_sub(once)),
        ("spilled", traffic.spilled),
        ("brought back", traffic.filled),
    ]
    .into_iter()
    .filter(|&(_, bytes)| bytes > 0)
    .map(|(what, bytes)| format!("{bytes} {what}"))
    .collect();
    let why = match reasons.is_empty() {
        true => "each byte moves once".to_owned(),
        false => reasons.join(", "),
    };
    let ratio = traffic.total() as f64 / (least as f64).max(1.0);
    format!(
        "{ratio:.3} of the least, {least}; {why}; {} binds",
        bound.binding_term
    )
}

fn kind(stage: &Stage) -> &'static str {
    match stage {
        Stage::Matmul { quantize: None, .. } => "matmul",
        Stage::Matmul {
            quantize: Some(_), ..
        } => "matmul+quantize",
        Stage::Attention { quantize: None, .. } => "attention",
        Stage::Attention {
            quantize: Some(_), ..
        } => "attention+quantize",
        Stage::CachedAttention { .. } => "cached attention",
        Stage::Rows { .. } => "rows",
        Stage::Whole { .. } => "whole",
        Stage::Input { .. } => "input",
    }
}
