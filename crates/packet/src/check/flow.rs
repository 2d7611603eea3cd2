//! Rules about the flow of data: what is read was written before, and no two packets race.
//!
//! Packets are visited in stream order, which is one of the orders that tokens allow; two accesses
//! conflict unless the earlier one's packet happens before the later one's. A free is a statement
//! about the stream: no packet behind it reads the bytes until they are written again.

use std::ops::Range;

use super::Scope;
use super::ledger::{Fault, Ledger};
use super::order::Order;
use super::rule::{
    CHECK_LIMIT, DRAM_RACE, DRAM_UNWRITTEN, OUTPUT_UNWRITTEN, SRAM_FREED, SRAM_RACE, SRAM_UNWRITTEN,
};
use crate::access::{Access, Mode, Place, collect_accesses};
use crate::packet::SramRange;
use crate::program::{Region, RegionKind};

/// Follows all data of an entry through SRAM and through the regions that are written.
pub fn check_flow(scope: &mut Scope<'_>) {
    let packets = &scope.entry.packets;
    let mut order = Order::new(packets);
    let mut sram = Ledger::new(scope.target.sram.bytes, false);
    let mut regions: Vec<_> = scope.entry.regions.iter().map(region_ledger).collect();
    let (mut accesses, mut ranges) = (Vec::new(), Vec::new());
    for (at, packet) in packets.iter().enumerate() {
        scope.place = (Some(at), None);
        if !order.advance(at) {
            scope.breach(&CHECK_LIMIT, "too many tokens are open".to_owned());
            scope.place = (None, None);
            return;
        }
        for (number, command) in packet.commands.iter().enumerate() {
            scope.place = (Some(at), Some(number));
            collect_accesses(command, scope.maxima, &mut accesses);
            for access in &accesses {
                let ledger = match access.place {
                    Place::Sram => Some(&mut sram),
                    Place::Dram(region) => regions[usize::from(region.0)].as_mut(),
                };
                let Some(ledger) = ledger else { continue };
                access.extent.intervals(&mut ranges);
                let fault = match access.mode {
                    Mode::Read => ledger.read(at as u32, &ranges, &order),
                    Mode::Write => ledger.write(at as u32, &ranges, &order),
                };
                if let Some(fault) = fault {
                    report(scope, access, fault);
                }
            }
        }
        free_all(&mut sram, at, &packet.frees, &mut ranges);
    }
    scope.place = (None, None);
    check_outputs(scope, &regions);
}

/// The ledger of a region that may be written; others need none.
fn region_ledger(region: &Region) -> Option<Ledger> {
    match region.kind {
        RegionKind::Output | RegionKind::Spill => Some(Ledger::new(region.bytes, false)),
        RegionKind::State => Some(Ledger::new(region.bytes, true)),
        RegionKind::Weights | RegionKind::Embeddings | RegionKind::Input | RegionKind::Packets => {
            None
        }
    }
}

/// Ends the lives of what a packet frees.
fn free_all(sram: &mut Ledger, at: usize, frees: &[SramRange], ranges: &mut Vec<Range<u64>>) {
    for free in frees {
        let start = u64::from(free.addr);
        ranges.clear();
        ranges.push(start..start + u64::from(free.bytes));
        sram.free(at as u32, ranges);
    }
}

/// Every byte of an output is stored.
fn check_outputs(scope: &mut Scope<'_>, regions: &[Option<Ledger>]) {
    for (at, ledger) in regions.iter().enumerate() {
        let output = scope.entry.regions[at].kind == RegionKind::Output;
        if let Some(range) = ledger
            .as_ref()
            .filter(|_| output)
            .and_then(Ledger::unwritten)
        {
            let name = &scope.entry.regions[at].name;
            let Range { start, end } = range;
            let message = format!("bytes {start}..{end} of d{at} (`{name}`) are never stored");
            scope.breach(&OUTPUT_UNWRITTEN, message);
        }
    }
}

/// Puts a fault into words.
fn report(scope: &mut Scope<'_>, access: &Access, fault: Fault) {
    let (place, unwritten, race) = match access.place {
        Place::Sram => ("SRAM".to_owned(), &SRAM_UNWRITTEN, &SRAM_RACE),
        Place::Dram(region) => (format!("d{}", region.0), &DRAM_UNWRITTEN, &DRAM_RACE),
    };
    let field = access.field;
    let bytes = |range: &Range<u64>| format!("{:#x}..{:#x} of {place}", range.start, range.end);
    let verb = match access.mode {
        Mode::Read => "reads",
        Mode::Write => "writes",
    };
    let (rule, message) = match &fault {
        Fault::Unwritten(range) => (
            unwritten,
            format!("{field} reads {}, which nobody wrote", bytes(range)),
        ),
        Fault::Freed(range, by) => (
            &SRAM_FREED,
            format!("{field} reads {}, which p{by} freed", bytes(range)),
        ),
        Fault::Writer(range, by) => (
            race,
            format!(
                "{field} {verb} {}, which p{by} writes, unordered",
                bytes(range)
            ),
        ),
        Fault::Reader(range, by) => (
            race,
            format!(
                "{field} {verb} {}, which p{by} reads, unordered",
                bytes(range)
            ),
        ),
    };
    scope.breach(rule, message);
}
