//! The critical path: from the end of a run back, always to what was waited for last.
//!
//! Every cycle of the run lies in exactly one step: a command, the time that SRAM ports held it up, the
//! decoding of a packet, or the fetch of the stream.

use packwright_packet::defs::Unit as Kind;
use packwright_packet::packet::OriginId;
use packwright_packet::program::{Entry, RegionKind};

use crate::engine::Decode;
use crate::report::{Release, Span};

/// Cycles of the critical path that went into the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the time was spent on, e.g. `load weights` or `softmax`.
    pub what: String,
    /// The layer whose packet it was.
    pub origin: OriginId,
    pub cycles: u64,
}

/// The steps of the critical path, summed by what and where, the longest first; they add up to the cycles
/// of the run.
pub(crate) fn critical(entry: &Entry, spans: &[Span], decodes: &[Decode]) -> Vec<Step> {
    let mut walk = Walk {
        entry,
        steps: Vec::new(),
    };
    let Some((last, span)) = spans.iter().enumerate().max_by_key(|(_, span)| span.end) else {
        return Vec::new();
    };
    let mut now = span.end;
    let mut at = At::Span(last);
    while now > 0 {
        let (start, release, packet) = match at {
            At::Span(index) => {
                let span = &spans[index];
                walk.span(span, now);
                (span.start, span.release, span.packet as usize)
            }
            At::Decode(packet) => {
                let decode = decodes[packet];
                walk.add("decode", packet, now.saturating_sub(decode.start));
                (decode.start, decode.release, packet)
            }
        };
        now = now.min(start);
        let decoding = matches!(at, At::Decode(_));
        at = match release {
            Release::Span(index) => At::Span(index as usize),
            Release::Decoded if !decoding => At::Decode(packet),
            Release::Decoded if packet > 0 => At::Decode(packet - 1),
            // The fetch was asked for when room had come: at the end of a decoding before, or at the start.
            Release::Stream | Release::Decoded => {
                let before = (0..packet).rev().find(|&before| decodes[before].end < now);
                let asked = before.map_or(0, |before| decodes[before].end);
                walk.add("packet stream", packet, now - asked);
                now = asked;
                match before {
                    Some(before) => At::Decode(before),
                    None => break,
                }
            }
        };
    }
    let mut steps: Vec<Step> = walk.steps;
    steps.sort_by(|a, b| b.cycles.cmp(&a.cycles).then_with(|| a.what.cmp(&b.what)));
    steps
}

/// Where the walk stands.
#[derive(Clone, Copy)]
enum At {
    Span(usize),
    Decode(usize),
}

struct Walk<'a> {
    entry: &'a Entry,
    steps: Vec<Step>,
}

impl Walk<'_> {
    fn span(&mut self, span: &Span, until: u64) {
        let cycles = until.saturating_sub(span.start);
        let ports = span.ports.min(cycles);
        let packet = span.packet as usize;
        let what = match span.unit.kind {
            Kind::Dma => {
                let region = span.region.map(|region| usize::from(region.0));
                let region = region.and_then(|region| self.entry.regions.get(region));
                let kind = region.map_or("", |region| kind_name(region.kind));
                format!("{} {kind}", span.mnemonic)
            }
            Kind::Matrix | Kind::Vector => span.mnemonic.to_owned(),
        };
        self.add(&what, packet, cycles - ports);
        self.add("SRAM ports", packet, ports);
    }

    fn add(&mut self, what: &str, packet: usize, cycles: u64) {
        if cycles == 0 {
            return;
        }
        let origin = self.entry.packets[packet].origin;
        let same = |step: &&mut Step| step.origin == origin && step.what == what;
        match self.steps.iter_mut().rev().find(same) {
            Some(step) => step.cycles += cycles,
            None => self.steps.push(Step {
                what: what.to_owned(),
                origin,
                cycles,
            }),
        }
    }
}

fn kind_name(kind: RegionKind) -> &'static str {
    match kind {
        RegionKind::Weights => "weights",
        RegionKind::Embeddings => "embeddings",
        RegionKind::Input => "inputs",
        RegionKind::Output => "outputs",
        RegionKind::Spill => "spills",
        RegionKind::State => "state",
        RegionKind::Packets => "packets",
    }
}
