//! Rules about DRAM regions and the ports that name them.

use super::rule::{PORT_REGION, REGION_CONSTANT, REGION_OVERLAP, REGION_PACKETS};
use super::{Problem, Scope};
use crate::encode::packet_sizes;
use crate::program::{Port, Program, Region, RegionKind};

/// Whether the contents of a region stand in the constants section.
fn is_constant(kind: RegionKind) -> bool {
    match kind {
        RegionKind::Weights | RegionKind::Embeddings => true,
        RegionKind::Input
        | RegionKind::Output
        | RegionKind::Spill
        | RegionKind::State
        | RegionKind::Packets => false,
    }
}

/// Regions lie inside the constants where they must, fit into DRAM addresses, and do not overlap.
pub fn check_regions(scope: &mut Scope<'_>) {
    for (at, region) in scope.entry.regions.iter().enumerate() {
        check_constant(scope, at, region);
        if region.address.checked_add(region.bytes).is_none() {
            scope.breach(&REGION_OVERLAP, format!("d{at} exceeds 64-bit addresses"));
        }
    }
    check_overlap(scope);
    check_packets(scope);
}

/// Regions of weights and embeddings, and only they, lie inside the constants section.
fn check_constant(scope: &mut Scope<'_>, at: usize, region: &Region) {
    let size = scope.program.constants.len();
    match (is_constant(region.kind), region.constant_offset) {
        (true, None) => {
            scope.breach(
                &REGION_CONSTANT,
                format!("d{at} ({}) has no constants", region.kind),
            );
        }
        (true, Some(offset)) => {
            if offset
                .checked_add(region.bytes)
                .is_none_or(|end| end > size)
            {
                let bytes = region.bytes;
                let message =
                    format!("d{at} takes {bytes} bytes at {offset} of {size} bytes of constants");
                scope.breach(&REGION_CONSTANT, message);
            }
        }
        (false, Some(_)) => {
            let message = format!("d{at} ({}) stands in the constants", region.kind);
            scope.breach(&REGION_CONSTANT, message);
        }
        (false, None) => {}
    }
}

/// Regions of an entry do not overlap in DRAM.
fn check_overlap(scope: &mut Scope<'_>) {
    let regions = &scope.entry.regions;
    let mut order: Vec<_> = (0..regions.len())
        .filter(|&at| regions[at].bytes > 0)
        .collect();
    order.sort_by_key(|&at| (regions[at].address, at));
    let mut reach: Option<usize> = None;
    for at in order {
        let end = |at: usize| regions[at].address.saturating_add(regions[at].bytes);
        if let Some(before) = reach
            && regions[at].address < end(before)
        {
            scope.breach(&REGION_OVERLAP, format!("d{before} and d{at} share DRAM"));
        }
        if reach.is_none_or(|before| end(before) < end(at)) {
            reach = Some(at);
        }
    }
}

/// An entry has at most one region for its packets, large enough for them.
fn check_packets(scope: &mut Scope<'_>) {
    let regions = scope.entry.regions.iter().enumerate();
    let mut own = regions.filter(|(_, region)| region.kind == RegionKind::Packets);
    let Some((at, region)) = own.next() else {
        return;
    };
    let more = own.next().map(|(more, _)| more);
    let stream: u64 = packet_sizes(&scope.entry.packets)
        .into_iter()
        .map(u64::from)
        .sum();
    if stream > region.bytes {
        let message = format!(
            "d{at} has {} bytes, the stream takes {stream}",
            region.bytes
        );
        scope.breach(&REGION_PACKETS, message);
    }
    if let Some(more) = more {
        scope.breach(
            &REGION_PACKETS,
            format!("d{at} and d{more} are both for packets"),
        );
    }
}

/// An input or output names a region of its kind or state, of exactly its size; each region of
/// inputs has one input.
pub fn check_ports(scope: &mut Scope<'_>) {
    for port in &scope.entry.inputs {
        check_port(scope, "input", RegionKind::Input, port);
    }
    for port in &scope.entry.outputs {
        check_port(scope, "output", RegionKind::Output, port);
    }
    for (at, region) in scope.entry.regions.iter().enumerate() {
        let named = scope.entry.inputs.iter();
        let named = named
            .filter(|port| usize::from(port.region.0) == at)
            .count();
        if region.kind == RegionKind::Input && named != 1 {
            let message = format!("d{at} (`{}`) has {named} inputs", region.name);
            scope.breach(&PORT_REGION, message);
        }
    }
}

fn check_port(scope: &mut Scope<'_>, what: &str, kind: RegionKind, port: &Port) {
    let Port {
        name,
        elem,
        shape,
        region,
    } = port;
    let number = region.0;
    let Some(region) = scope.entry.regions.get(usize::from(number)) else {
        scope.breach(
            &PORT_REGION,
            format!("{what} `{name}` names d{number}, which is not there"),
        );
        return;
    };
    if region.kind != kind && region.kind != RegionKind::State {
        let message = format!(
            "{what} `{name}` names d{number}, which is a region of {}",
            region.kind
        );
        scope.breach(&PORT_REGION, message);
    }
    let bytes = shape
        .iter()
        .try_fold(u64::from(elem.bytes()), |bytes, &n| bytes.checked_mul(n));
    if bytes != Some(region.bytes) {
        let bytes = bytes.map_or("more than 2^64".to_owned(), |bytes| bytes.to_string());
        let message = format!(
            "{what} `{name}` takes {bytes} bytes, d{number} has {}",
            region.bytes
        );
        scope.breach(&PORT_REGION, message);
    }
}

/// Regions of different entries overlap only as the same constants or state, or as data of one pass.
pub fn check_sharing(program: &Program, problems: &mut Vec<Problem>) {
    let entries = program.entries.iter().enumerate();
    let all = entries.flat_map(|(entry, e)| {
        e.regions
            .iter()
            .enumerate()
            .map(move |(at, region)| (entry, at, region))
    });
    let mut all: Vec<_> = all.filter(|(_, _, region)| region.bytes > 0).collect();
    all.sort_by_key(|&(entry, at, region)| (region.address, entry, at));
    let mut open: Vec<(usize, usize, &Region)> = Vec::new();
    for (entry, at, region) in all {
        open.retain(|(_, _, o)| o.address.saturating_add(o.bytes) > region.address);
        for &(other_entry, other_at, other) in &open {
            if other_entry != entry && !may_share(region, other) {
                problems.push(Problem {
                    slug: REGION_OVERLAP.slug,
                    entry,
                    packet: None,
                    command: None,
                    message: format!("d{at} shares DRAM with d{other_at} of entry {other_entry}"),
                    help: REGION_OVERLAP.help,
                });
            }
        }
        open.push((entry, at, region));
    }
}

/// Whether two regions of different entries may overlap.
fn may_share(a: &Region, b: &Region) -> bool {
    let lasting =
        |kind| is_constant(kind) || kind == RegionKind::State || kind == RegionKind::Packets;
    match (a.constant_offset, b.constant_offset) {
        (Some(x), Some(y)) => a.address.wrapping_sub(x) == b.address.wrapping_sub(y),
        (None, None) => {
            !lasting(a.kind) && !lasting(b.kind) || a.kind == b.kind && a.kind == RegionKind::State
        }
        _ => false,
    }
}
