//! From a plan to packets: one fragment, one packet.
//!
//! Read in this order: [`address`] (where a fragment's data lie), the emitters of the stages
//! ([`matmul`], [`attention`], [`cached`], [`rows`], [`whole`], [`transfer`]), [`regions`] (the DRAM map),
//! [`share`] (what entries have in common),
//! [`assign_tokens`] (what waits for what), [`constants`] (the bytes of the constants section).

pub mod address;
pub mod assign_tokens;
pub mod attention;
pub mod cached;
pub mod chunk;
pub mod constants;
pub mod hash;
pub mod heads;
pub mod matmul;
pub mod regions;
pub mod rows;
pub mod share;
pub mod touch;
pub mod transfer;
pub mod whole;

use indexmap::IndexMap;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::{Graph, NodeId, Op};
use packwright_packet::defs::Command;
use packwright_packet::packet::{OriginId, Packet};
use packwright_packet::program::{Bound, Constants, Entry, Facts, Origin, Program};
use packwright_target::Target;

use crate::plan::cache;
use crate::plan::constants::Form;
use crate::plan::stage::Stage;
use crate::plan::{Fragment, Part, Plan};
use address::{At, Site, Turn};
use regions::{Regions, Shared};

/// Work goes before constants that come ahead of it, and these before what nobody reads soon: a load beside stores takes
/// several times as long, and the arrays wait for it.
const WORK_PRIORITY: u8 = 2;
const LOAD_PRIORITY: u8 = 1;
const SPILL_PRIORITY: u8 = 0;

/// Most fragments of an entry: what takes more has far too little SRAM, and no host memory for its packets.
const MOST_FRAGMENTS: usize = 1_500_000;

/// A planned graph on its way to an entry.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub name: &'a str,
    pub graph: &'a Graph,
    pub plan: &'a Plan,
    pub bound: &'a Bound,
}

/// Turns plans into a program with an entry each, with its constants absent.
///
/// # Errors
/// Lists every fragment that has no packet form.
pub fn emit(
    target: &Target,
    sources: &[Source<'_>],
    shared: &Shared,
) -> Result<Program, Diagnostics> {
    let mut origins = Origins::default();
    let mut problems = Vec::new();
    let mut entries = Vec::new();
    let mut end = 0;
    for source in sources {
        match entry(source, shared, &mut origins, &mut end) {
            Ok(entry) => entries.push(entry),
            Err(found) => problems.extend(found.0),
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    Ok(Program {
        model: sources
            .first()
            .map_or_else(String::new, |source| source.graph.name.clone()),
        target_toml: target.to_toml(),
        precision: precision(sources).into(),
        tool: format!("packwright {}", env!("CARGO_PKG_VERSION")),
        origins: origins.rows(),
        entries,
        constants: Constants::Absent {
            bytes: shared.constant_bytes(),
        },
    })
}

/// The label of the narrowest weights.
fn precision(sources: &[Source<'_>]) -> &'static str {
    let stored = sources.iter().flat_map(|source| &source.plan.layout.stored);
    let mut forms = stored.map(|stored| &stored.form);
    match forms.any(|form| matches!(form, Form::Channels { block: Some(_), .. })) {
        true => "w4a8",
        false => "w8a8",
    }
}

/// The entry of a plan; its own regions lie behind `end`, which moves.
fn entry(
    source: &Source<'_>,
    shared: &Shared,
    origins: &mut Origins,
    end: &mut u64,
) -> Result<Entry, Diagnostics> {
    let Source { graph, plan, .. } = *source;
    let fragments = plan.fragments.len();
    if fragments > MOST_FRAGMENTS {
        return Err(too_many(source.name, fragments).into());
    }
    let mut regions = regions::lay_out(graph, plan, shared, *end)?;
    let registers = cache::registers(graph);
    let maxima: Vec<u64> = registers.iter().map(|register| register.max).collect();
    let mut problems = Vec::new();
    let mut packets = Vec::new();
    let mut behind = Vec::new();
    let site = Site::new(graph, plan);
    for fragment in &plan.fragments {
        match commands(&site, &regions, fragment) {
            Ok(commands) if commands.is_empty() => {}
            Ok(commands) => {
                behind.push(fragment);
                packets.push(Packet {
                    origin: origins.of(graph, plan, fragment),
                    priority: match fragment {
                        Fragment::Spill { .. } => SPILL_PRIORITY,
                        Fragment::LoadTile { .. } => LOAD_PRIORITY,
                        _ => WORK_PRIORITY,
                    },
                    waits: Vec::new(),
                    signals: Vec::new(),
                    frees: Vec::new(),
                    commands,
                })
            }
            Err(problem) => {
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    assign_tokens::assign_tokens(plan, &behind, &mut packets, &maxima);
    regions.add_packets(&packets);
    *end = regions.end();
    Ok(Entry {
        name: source.name.into(),
        binding: graph.facts.binding.clone(),
        registers,
        inputs: regions.inputs,
        outputs: regions.outputs,
        regions: regions.regions,
        packets,
        facts: Facts {
            parameters: graph.facts.parameters,
            macs: graph.facts.macs,
            weight_bytes: plan.layout.own_bytes(),
            sram_peak: plan.sram_peak,
        },
        bound: source.bound.clone(),
    })
}

fn too_many(entry: &str, fragments: usize) -> Diagnostic {
    Diagnostic::unsupported(
        "emit-packets",
        format!("the plan takes {fragments} packets, more than {MOST_FRAGMENTS}"),
    )
    .at(format!("entry {entry}"))
    .help("raise sram.bytes, so that fewer row blocks read the weights again, or shorten the sequence")
}

fn commands(
    site: &Site<'_>,
    regions: &Regions,
    fragment: &Fragment,
) -> Result<Vec<Command>, Diagnostic> {
    match fragment {
        Fragment::LoadTile { tile } => Ok(transfer::load_tile(site, regions, *tile)),
        Fragment::LoadInput { node } => Ok(transfer::load_input(site, regions, *node)),
        Fragment::Fill {
            root,
            segment,
            pass,
            rows,
        } => {
            let turn = Turn {
                segment: *segment,
                pass: *pass,
            };
            Ok(transfer::fill(site, regions, *root, turn, rows.clone()))
        }
        Fragment::Spill {
            root,
            segment,
            pass,
            rows,
        } => {
            let turn = Turn {
                segment: *segment,
                pass: *pass,
            };
            Ok(transfer::spill(site, regions, *root, turn, rows.clone()))
        }
        Fragment::Drain {
            output,
            segment,
            stage,
            rows,
            columns,
            copy,
        } => {
            let at = At {
                segment: Turn {
                    segment: *segment,
                    pass: 0,
                },
                stage: *stage,
                block: rows.clone(),
            };
            transfer::drain(site, regions, *output, &at, columns, *copy)
        }
        Fragment::StoreOutput { output, pass, rows } => {
            let pass = pass.map(|(pass, _)| pass);
            transfer::store_output(site, regions, *output, pass, rows.clone())
        }
        Fragment::Work {
            segment,
            stage,
            pass,
            rows,
            part,
            tiles,
        } => {
            let at = At {
                segment: Turn {
                    segment: *segment,
                    pass: *pass,
                },
                stage: *stage,
                block: rows.clone(),
            };
            match &site.plan.segments[*segment].stages[*stage] {
                Stage::Matmul { node, quantize } => {
                    matmul::matmul(site, &at, *node, *quantize, part, tiles)
                }
                Stage::Attention { node, quantize } => {
                    attention::attention(site, &at, (*node, *quantize), part, tiles)
                }
                Stage::CachedAttention { node } => cached::cached(site, &at, *node, part, tiles),
                Stage::Rows { nodes } => rows::rows(site, regions, &at, nodes, tiles),
                Stage::Whole { node } => match (part, site.graph.op(*node)) {
                    (Part::Chunk(part), Op::HashSort(_)) => {
                        hash::hash(site, &at, *node, part, tiles)
                    }
                    (Part::Chunk(part), _) => chunk::chunk(site, &at, *node, part),
                    _ => whole::whole(site, &at, *node, tiles),
                },
                Stage::Input { .. } => Ok(Vec::new()),
            }
        }
    }
}

/// The provenance table in the making: a row for each layer and kind of work.
#[derive(Default)]
struct Origins {
    rows: IndexMap<(String, &'static str), Vec<String>>,
    last: u32,
}

impl Origins {
    fn of(&mut self, graph: &Graph, plan: &Plan, fragment: &Fragment) -> OriginId {
        let (nodes, what) = match fragment {
            Fragment::Work { segment, stage, .. } => {
                let stage = &plan.segments[*segment].stages[*stage];
                (stage.nodes(), stage_name(graph, stage))
            }
            Fragment::LoadTile { tile } => {
                // Charged to the stage that reads it first.
                let reader = plan.tiles[tile.0 as usize]
                    .reader
                    .map(|(segment, stage)| &plan.segments[segment].stages[stage]);
                match reader {
                    Some(stage) => (stage.nodes(), stage_name(graph, stage)),
                    None => (Vec::new(), "constants"),
                }
            }
            Fragment::LoadInput { node } => (vec![*node], "input"),
            Fragment::Fill { root, .. } | Fragment::Spill { root, .. } => {
                (vec![plan.storage.root(*root).value.node], "spill")
            }
            Fragment::StoreOutput { output, .. } | Fragment::Drain { output, .. } => {
                (vec![graph.outputs()[*output].value.node], "output")
            }
        };
        self.row(graph, &nodes, what)
    }

    fn row(&mut self, graph: &Graph, nodes: &[NodeId], what: &'static str) -> OriginId {
        let layer = nodes
            .iter()
            .map(|&node| graph.origin(graph.origin_of(node)).layer.clone())
            .find(|layer| !layer.is_empty())
            .unwrap_or_default();
        let entry = self.rows.entry((layer, what));
        let index = entry.index() as u32;
        let names = entry.or_default();
        for &node in nodes {
            for name in &graph.origin(graph.origin_of(node)).nodes {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        self.last = index;
        OriginId(index)
    }

    fn rows(self) -> Vec<Origin> {
        self.rows
            .into_iter()
            .map(|((layer, what), nodes)| Origin {
                layer,
                what: what.into(),
                nodes,
            })
            .collect()
    }
}

/// What a stage does, in a word.
fn stage_name(graph: &Graph, stage: &Stage) -> &'static str {
    match stage {
        Stage::Matmul { .. } => "matmul",
        Stage::Attention { .. } | Stage::CachedAttention { .. } => "attention",
        Stage::Input { .. } => "input",
        Stage::Whole { node } => match graph.op(*node) {
            Op::HashSort(_) => "sort",
            Op::ChunkAttention(_) => "attention",
            _ => "elementwise",
        },
        Stage::Rows { nodes } => match nodes.first().map(|&n| graph.op(n)) {
            Some(Op::Embedding { .. }) => "embedding",
            Some(Op::LayerNorm { .. } | Op::RmsNorm { .. }) => "norm",
            Some(Op::Rotary { .. }) => "rotary",
            Some(Op::Concat { .. }) => "elementwise",
            _ => "quantize",
        },
    }
}
