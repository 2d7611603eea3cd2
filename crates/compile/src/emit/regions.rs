//! The DRAM map of an entry: constants, inputs, outputs, spills and the packet stream.

use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::{Graph, NodeId, Op};
use packwright_packet::encode;
use packwright_packet::operand::RegionId;
use packwright_packet::packet::Packet;
use packwright_packet::program::{Port, Region, RegionKind};

use crate::plan::Plan;
use crate::plan::cache::{self, Cache};
use crate::plan::storage::{RootId, machine_elem};

/// Alignment of regions: a row of all channels of the widest preset.
const ALIGN: u64 = 8192;

/// Regions in the making, with what lies where.
#[derive(Debug, Default)]
pub struct Regions {
    pub regions: Vec<Region>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Port of each output of the graph; caches have none.
    output_of: Vec<(usize, RegionId)>,
    /// Region of each input node.
    input_of: Vec<(NodeId, RegionId)>,
    /// Offset of each spilled root in the spill region.
    spill_of: Vec<(RootId, u64)>,
    /// Region of each cache, by name, with the rows that a plane has room for.
    state_of: Vec<(String, RegionId, usize)>,
    end: u64,
}

/// What the entries of a program share: one copy of the constants, and state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Bytes of the weights, which come first in the constants section.
    pub weight_bytes: u64,
    /// Bytes of the embedding tables behind them.
    pub table_bytes: u64,
    /// Caches with room for the most rows that an entry needs.
    pub caches: Vec<SharedCache>,
}

/// A cache of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCache {
    pub cache: Cache,
    /// Rows that a plane has room for.
    pub capacity: usize,
}

impl Shared {
    /// Size of the constants section.
    pub fn constant_bytes(&self) -> u64 {
        self.weight_bytes + self.table_bytes
    }

    /// Takes up the caches of a graph. Those of one name are one, and have to agree.
    pub fn add_caches(&mut self, graph: &Graph, problems: &mut Vec<Diagnostic>) {
        for cache in cache::caches(graph) {
            let Some(known) = self.caches.iter_mut().find(|c| c.cache.name == cache.name) else {
                self.caches.push(SharedCache {
                    capacity: cache.rows(),
                    cache,
                });
                continue;
            };
            let form = |c: &Cache| (c.batch, c.heads, c.width, c.elem);
            if form(&known.cache) == form(&cache) {
                known.capacity = known.capacity.max(cache.rows());
                continue;
            }
            let text = |c: &Cache| {
                let (batch, heads, width, elem) = form(c);
                format!("batch {batch}, {heads} heads of {width} in {elem}")
            };
            let (name, old, new) = (&cache.name, text(&known.cache), text(&cache));
            problems.push(
                Diagnostic::error(
                    "entry-caches-differ",
                    format!("the cache `{name}` has {old} in one entry and {new} in another"),
                )
                .help("export all entries from the same model, and bind them to the same batch"),
            );
        }
    }
}

impl Regions {
    /// The region of an input.
    pub fn input(&self, node: NodeId) -> Option<RegionId> {
        self.input_of
            .iter()
            .find(|(n, _)| *n == node)
            .map(|(_, region)| *region)
    }

    /// The region of an output of the graph; caches have none.
    pub fn output(&self, index: usize) -> Option<RegionId> {
        self.output_of
            .iter()
            .find(|(i, _)| *i == index)
            .map(|(_, region)| *region)
    }

    /// The region of a kind, where there is one.
    pub fn of_kind(&self, kind: RegionKind) -> Option<RegionId> {
        self.regions
            .iter()
            .position(|r| r.kind == kind)
            .map(|index| RegionId(index as u16))
    }

    /// Offset of a spilled root in the spill region.
    pub fn spill_offset(&self, root: RootId) -> Option<u64> {
        self.spill_of
            .iter()
            .find(|(r, _)| *r == root)
            .map(|(_, offset)| *offset)
    }

    /// The region of a cache, and the rows that a plane has room for.
    pub fn cache(&self, name: &str) -> Option<(RegionId, usize)> {
        self.state_of
            .iter()
            .find(|(n, _, _)| n == name)
            .map(|&(_, region, capacity)| (region, capacity))
    }

    /// Address behind the last region.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Adds the region of the packet stream; it comes last, when its size is known.
    pub fn add_packets(&mut self, packets: &[Packet]) {
        let bytes = encode::packet_sizes(packets)
            .iter()
            .map(|&size| u64::from(size))
            .sum();
        self.add("packets", RegionKind::Packets, bytes, None);
    }

    fn add(
        &mut self,
        name: impl Into<String>,
        kind: RegionKind,
        bytes: u64,
        constant_offset: Option<u64>,
    ) -> RegionId {
        let address = self.end;
        self.end = (address + bytes).next_multiple_of(ALIGN);
        self.regions.push(Region {
            name: name.into(),
            kind,
            address,
            bytes,
            constant_offset,
        });
        RegionId(self.regions.len() as u16 - 1)
    }
}

/// Lays out everything but the packet stream: first what entries share, at the same addresses in each,
/// then what is the entry's own, from `start` on.
///
/// # Errors
/// Lists inputs and outputs whose elements the machine cannot hold.
pub fn lay_out(
    graph: &Graph,
    plan: &Plan,
    shared: &Shared,
    start: u64,
) -> Result<Regions, Diagnostics> {
    let mut regions = Regions::default();
    let mut problems = Vec::new();
    share(shared, &mut regions);
    regions.end = regions.end.max(start);
    for &node in graph.inputs() {
        let Op::Input { name } = graph.op(node) else {
            continue;
        };
        if cache::is_held(graph, node) {
            continue;
        }
        let ty = &graph.types(node)[0];
        match machine_elem(ty.elem) {
            Some(elem) => {
                let bytes = ty.elements() as u64 * u64::from(elem.bytes());
                let region = regions.add(name.clone(), RegionKind::Input, bytes, None);
                regions.input_of.push((node, region));
                let shape = ty.shape.iter().map(|&n| n as u64).collect();
                regions.inputs.push(Port {
                    name: name.clone(),
                    elem,
                    shape,
                    region,
                });
            }
            None => problems.push(unsupported_port(name, ty.elem)),
        }
    }
    for (index, output) in graph.outputs().iter().enumerate() {
        if Cache::of(graph, output.value).is_some() {
            continue;
        }
        let ty = graph.ty(output.value);
        match machine_elem(ty.elem) {
            Some(elem) => {
                let bytes = ty.elements() as u64 * u64::from(elem.bytes());
                let region = regions.add(output.name.clone(), RegionKind::Output, bytes, None);
                regions.output_of.push((index, region));
                let shape = ty.shape.iter().map(|&n| n as u64).collect();
                regions.outputs.push(Port {
                    name: output.name.clone(),
                    elem,
                    shape,
                    region,
                });
            }
            None => problems.push(unsupported_port(&output.name, ty.elem)),
        }
    }
    spills(plan, &mut regions);
    if problems.is_empty() {
        Ok(regions)
    } else {
        Err(Diagnostics(problems))
    }
}

/// Constants and state.
fn share(shared: &Shared, regions: &mut Regions) {
    let Shared {
        weight_bytes,
        table_bytes,
        caches,
    } = shared;
    if *weight_bytes > 0 {
        regions.add("weights", RegionKind::Weights, *weight_bytes, Some(0));
    }
    if *table_bytes > 0 {
        let offset = Some(*weight_bytes);
        regions.add("embeddings", RegionKind::Embeddings, *table_bytes, offset);
    }
    for SharedCache { cache, capacity } in caches {
        let bytes = cache.planes() as u64 * cache.plane_bytes(*capacity);
        let region = regions.add(cache.name.clone(), RegionKind::State, bytes, None);
        regions
            .state_of
            .push((cache.name.clone(), region, *capacity));
    }
}

fn spills(plan: &Plan, regions: &mut Regions) {
    let mut end = 0;
    for root in plan.spilled() {
        let info = plan.storage.root(root);
        regions.spill_of.push((root, end));
        end += info.bytes(info.rows).next_multiple_of(64);
    }
    if end > 0 {
        regions.add("spill", RegionKind::Spill, end, None);
    }
}

fn unsupported_port(name: &str, elem: packwright_ir::Elem) -> Diagnostic {
    Diagnostic::unsupported(
        "emit-port",
        format!("the machine has no element type {elem}"),
    )
    .at(name.to_string())
    .help("export the model with float32, float16, int32 or int64 inputs and outputs")
}
