//! Tokens: which packet waits for which, found from what their commands touch.
//!
//! Every buffer and every tile keeps the touches of its present life. A packet waits for the writers
//! of what it reads, and for the readers and writers of what it writes; in a new life every touch waits
//! for all that touched its bytes in their lives before. Waits that follow from others are left out.

use std::collections::{BTreeMap, VecDeque};

use packwright_packet::packet::{Packet, SramRange, Token};

use super::touch::{Touch, touches};
use crate::plan::constants::TileId;
use crate::plan::storage::RootId;
use crate::plan::{Fragment, Plan};

/// Spills of one value that need not wait for each other.
const CHAINS: usize = 4;

/// Packets that one wait for the bytes of a buffer may name; where there are more, the first packet that waits for them
/// stands for them from then on, so that those behind it wait for one.
const GATE: usize = 32;

/// Packets back to which implied waits are recognised.
const HORIZON: usize = 1024;

/// What a touch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Buffer(usize),
    Tile(TileId),
}

/// The touches of one life of a range of SRAM.
#[derive(Debug, Default)]
struct Life {
    touches: Vec<(Touch, usize)>,
    /// Who touched the bytes before, and whether anybody in this life has waited for it.
    inherited: Vec<(Past, bool)>,
}

impl Life {
    /// A packet stands for those that it waits for because of a touch.
    fn gate(&mut self, touch: &Touch, packet: usize) {
        let mut covered = false;
        self.touches.retain_mut(|(other, by)| {
            let met = (touch.write || other.write) && touch.overlaps(other);
            if met {
                *by = packet;
            }
            let whole = met && other.write && touch.covers(other);
            covered |= whole;
            !whole
        });
        if covered {
            let written = Touch {
                write: true,
                ..*touch
            };
            self.touches.push((written, packet));
        }
    }
}

/// Whether packets are more than [`GATE`], each counted once; sorts them to find out.
fn are_many(packets: &mut [usize]) -> bool {
    if packets.len() <= GATE {
        return false;
    }
    packets.sort_unstable();
    packets.chunk_by(|a, b| a == b).count() > GATE
}

/// Packets that touched a range in a life that is over.
#[derive(Clone, Copy, Debug)]
struct Past {
    start: u64,
    end: u64,
    /// Their number in [`Tracker::crowds`]: the parts of a range share it.
    crowd: usize,
}

impl Past {
    fn meets(&self, touch: &Touch) -> bool {
        touch.addr < self.end && self.start < touch.end()
    }
}

/// Gives packets their waits, signals and frees. `fragments[i]` is the fragment of packet i; `maxima` are the
/// largest contents of the registers.
pub fn assign_tokens(plan: &Plan, fragments: &[&Fragment], packets: &mut [Packet], maxima: &[u64]) {
    let owners = owners(plan, fragments, packets, maxima);
    let mut last_touch: BTreeMap<Owner, usize> = BTreeMap::new();
    for (index, touched) in owners.iter().enumerate() {
        for &(owner, _) in touched {
            last_touch.insert(owner, index);
        }
    }
    let mut tracker = Tracker::default();
    let mut ancestors: Vec<Ancestors> = Vec::with_capacity(packets.len());
    let mut waits: Vec<Vec<usize>> = Vec::with_capacity(packets.len());
    for (index, touched) in owners.iter().enumerate() {
        let mut needs = Vec::new();
        for (owner, touch) in touched {
            tracker.touch(plan, *owner, touch, index, &mut needs);
        }
        needs.extend(tracker.spill(fragments[index], index));
        let mut mine = Ancestors::default();
        waits.push(mine.reduce(index, needs, &ancestors));
        ancestors.push(mine);
        let mut ending: Vec<Owner> = touched
            .iter()
            .map(|&(owner, _)| owner)
            .filter(|owner| last_touch.get(owner) == Some(&index))
            .collect();
        ending.sort_unstable();
        ending.dedup();
        for owner in ending {
            let (addr, bytes) = range(plan, owner);
            packets[index].frees.push(SramRange {
                addr: addr as u32,
                bytes: bytes as u32,
            });
            tracker.retire(plan, owner);
        }
    }
    number(&waits, packets);
}

/// A token for each packet that somebody waits for.
fn number(waits: &[Vec<usize>], packets: &mut [Packet]) {
    let mut signalled = vec![false; packets.len()];
    waits
        .iter()
        .flatten()
        .for_each(|&packet| signalled[packet] = true);
    let mut token_of = vec![None; packets.len()];
    let signalling = (0..packets.len()).filter(|&index| signalled[index]);
    for (token, index) in signalling.enumerate() {
        let token = Token(token as u32);
        token_of[index] = Some(token);
        packets[index].signals = vec![token];
    }
    for (packet, waits) in packets.iter_mut().zip(waits) {
        packet.waits = waits.iter().filter_map(|&w| token_of[w]).collect();
        packet.waits.sort_unstable();
    }
}

/// The owner of every touch of every packet.
fn owners(
    plan: &Plan,
    fragments: &[&Fragment],
    packets: &[Packet],
    maxima: &[u64],
) -> Vec<Vec<(Owner, Touch)>> {
    let steps: usize = plan.segments.iter().map(|s| s.stages.len()).sum();
    let mut alive: Vec<Vec<usize>> = vec![Vec::new(); steps];
    for (index, buffer) in plan.buffers.iter().enumerate() {
        for list in &mut alive[buffer.life.clone()] {
            list.push(index);
        }
    }
    let starts: Vec<usize> = plan
        .segments
        .iter()
        .scan(0, |sum, s| {
            let start = *sum;
            *sum += s.stages.len();
            Some(start)
        })
        .collect();
    let mut step = 0;
    let mut result = Vec::with_capacity(packets.len());
    for (index, (fragment, packet)) in fragments.iter().zip(packets).enumerate() {
        let tiles: &[TileId] = match fragment {
            Fragment::LoadTile { tile } => std::slice::from_ref(tile),
            Fragment::Work {
                segment,
                stage,
                tiles,
                ..
            } => {
                step = starts[*segment] + stage;
                tiles
            }
            Fragment::LoadInput { .. } | Fragment::Fill { .. } => {
                step = next_step(&fragments[index..], &starts, plan).unwrap_or(step);
                &[]
            }
            Fragment::Spill { .. } | Fragment::StoreOutput { .. } | Fragment::Drain { .. } => &[],
        };
        let mut list: Vec<(Owner, Touch)> = Vec::new();
        for touch in packet.commands.iter().flat_map(|c| touches(c, maxima)) {
            let in_tile = |tile: &&TileId| {
                let info = &plan.tiles[tile.0 as usize];
                touch.addr >= info.addr && touch.addr < info.addr + info.bytes
            };
            let in_buffer = |b: &&usize| {
                let buffer = &plan.buffers[**b];
                touch.addr >= buffer.addr && touch.addr < buffer.addr + buffer.bytes
            };
            let tile = tiles.iter().find(in_tile).map(|&tile| Owner::Tile(tile));
            let owner = tile.or_else(|| {
                let buffer = alive[step].iter().find(in_buffer);
                buffer.map(|&b| Owner::Buffer(bottom(plan, b)))
            });
            let owner = owner.expect("every touch lies in a buffer or a tile of its fragment");
            let touch = match owner {
                Owner::Buffer(_) => touch,
                Owner::Tile(tile) => {
                    let info = &plan.tiles[tile.0 as usize];
                    Touch::run(touch.write, info.addr, info.bytes)
                }
            };
            if !list.contains(&(owner, touch)) {
                list.push((owner, touch));
            }
        }
        // Reads before writes: a packet does not wait for itself.
        list.sort_by_key(|(_, touch)| touch.write);
        result.push(list);
    }
    result
}

/// The step of the stage that a load is for: inputs have a stage of their own.
fn next_step(fragments: &[&Fragment], starts: &[usize], plan: &Plan) -> Option<usize> {
    match fragments.first()? {
        Fragment::LoadInput { node } => {
            plan.segments.iter().enumerate().find_map(|(s, segment)| {
                let stage = segment
                    .stages
                    .iter()
                    .position(|stage| stage.nodes().contains(node))?;
                Some(starts[s] + stage)
            })
        }
        _ => fragments.iter().find_map(|f| match f {
            Fragment::Work { segment, stage, .. } => Some(starts[*segment] + stage),
            _ => None,
        }),
    }
}

/// The buffer at the bottom of a pile of buffers that take each other's place: one owner for all of them.
fn bottom(plan: &Plan, buffer: usize) -> usize {
    let mut bottom = buffer;
    while let Some(under) = plan.buffers[bottom].over {
        bottom = under;
    }
    bottom
}

/// The bytes of an owner.
fn range(plan: &Plan, owner: Owner) -> (u64, u64) {
    match owner {
        Owner::Buffer(index) => (plan.buffers[index].addr, plan.buffers[index].bytes),
        Owner::Tile(tile) => {
            let info = &plan.tiles[tile.0 as usize];
            (info.addr, info.bytes)
        }
    }
}

/// Lives in progress and lives that are over.
#[derive(Debug, Default)]
struct Tracker {
    lives: BTreeMap<Owner, Life>,
    past: Vec<Past>,
    /// Packets to wait for before the bytes of a life that is over are used again.
    crowds: Vec<Vec<usize>>,
    /// The last spills of each root, [`CHAINS`] at most.
    spilled: BTreeMap<RootId, VecDeque<usize>>,
}

impl Tracker {
    fn touch(
        &mut self,
        plan: &Plan,
        owner: Owner,
        touch: &Touch,
        packet: usize,
        needs: &mut Vec<usize>,
    ) {
        if !self.lives.contains_key(&owner) {
            let (addr, bytes) = range(plan, owner);
            // Row blocks come round again: the bytes may hold another buffer in between, whose life is
            // over with the first touch of this one.
            let others: Vec<Owner> = self.lives.keys().copied().collect();
            for other in others {
                let (start, length) = range(plan, other);
                if start < addr + bytes && addr < start + length {
                    self.retire(plan, other);
                }
            }
            let inherited = self.begin(addr, addr + bytes);
            self.lives.insert(
                owner,
                Life {
                    touches: Vec::new(),
                    inherited,
                },
            );
        }
        let life = self.lives.entry(owner).or_default();
        let first = needs.len();
        for (past, waited) in &mut life.inherited {
            if past.meets(touch) {
                let crowd = &self.crowds[past.crowd];
                needs.extend(crowd.iter().filter(|&&by| by != packet));
                *waited = true;
            }
        }
        if are_many(&mut needs[first..]) {
            let met = life.inherited.iter().filter(|(past, _)| past.meets(touch));
            met.for_each(|(past, _)| self.crowds[past.crowd] = vec![packet]);
        }
        let first = needs.len();
        for (other, by) in &life.touches {
            if (touch.write || other.write) && *by != packet && touch.overlaps(other) {
                needs.push(*by);
            }
        }
        if are_many(&mut needs[first..]) {
            life.gate(touch, packet);
        }
        if touch.write {
            life.touches
                .retain(|(other, by)| *by == packet || !touch.covers(other));
        }
        life.touches.push((*touch, packet));
    }

    /// A new life takes over the past of its bytes.
    fn begin(&mut self, start: u64, end: u64) -> Vec<(Past, bool)> {
        let mut rest = Vec::new();
        let mut taken = Vec::new();
        for past in self.past.drain(..) {
            let inside = Past {
                start: past.start.max(start),
                end: past.end.min(end),
                ..past
            };
            if inside.start >= inside.end {
                rest.push(past);
                continue;
            }
            if past.start < start {
                rest.push(Past { end: start, ..past });
            }
            if end < past.end {
                rest.push(Past { start: end, ..past });
            }
            taken.push((inside, false));
        }
        self.past = rest;
        taken
    }

    /// A life becomes past; with it what it inherited and nobody has waited for. The rest follows: who
    /// waits for this life waits for those who waited.
    fn retire(&mut self, plan: &Plan, owner: Owner) {
        let Some(life) = self.lives.remove(&owner) else {
            return;
        };
        let (start, bytes) = range(plan, owner);
        let mut packets: Vec<usize> = life.touches.iter().map(|&(_, packet)| packet).collect();
        packets.sort_unstable();
        packets.dedup();
        self.past.push(Past {
            start,
            end: start + bytes,
            crowd: self.crowds.len(),
        });
        self.crowds.push(packets);
        self.past.extend(
            life.inherited
                .into_iter()
                .filter(|(_, waited)| !waited)
                .map(|(p, _)| p),
        );
    }

    /// A fill waits for the spills of its value. Each of these waits for the one [`CHAINS`] before it, which is
    /// done by then, so that a fill need not wait for more than the last ones.
    fn spill(&mut self, fragment: &Fragment, packet: usize) -> Vec<usize> {
        match fragment {
            Fragment::Spill { root, .. } => {
                let last = self.spilled.entry(*root).or_default();
                last.push_back(packet);
                let before = if last.len() > CHAINS {
                    last.pop_front()
                } else {
                    None
                };
                before.into_iter().collect()
            }
            Fragment::Fill { root, .. } => {
                let last = self.spilled.get(root).into_iter().flatten();
                last.copied().collect()
            }
            Fragment::LoadTile { .. }
            | Fragment::LoadInput { .. }
            | Fragment::Work { .. }
            | Fragment::StoreOutput { .. }
            | Fragment::Drain { .. } => Vec::new(),
        }
    }
}

/// Which of the packets before one are known to be done when it starts: bit i stands for the packet
/// i + 1 before.
#[derive(Clone, Debug)]
struct Ancestors([u64; HORIZON / 64]);

impl Default for Ancestors {
    fn default() -> Self {
        Self([0; HORIZON / 64])
    }
}

impl Ancestors {
    /// Leaves out the needs that follow from others, and takes over what the rest imply.
    fn reduce(&mut self, packet: usize, mut needs: Vec<usize>, all: &[Ancestors]) -> Vec<usize> {
        needs.sort_unstable_by(|a, b| b.cmp(a));
        needs.dedup();
        let mut kept = Vec::new();
        for need in needs {
            let distance = packet - need - 1;
            if distance < HORIZON && self.0[distance / 64] >> (distance % 64) & 1 == 1 {
                continue;
            }
            kept.push(need);
            self.add(distance, &all[need]);
        }
        kept
    }

    fn add(&mut self, distance: usize, other: &Ancestors) {
        if distance >= HORIZON {
            return;
        }
        self.0[distance / 64] |= 1 << (distance % 64);
        let shift = distance + 1;
        let (words, bits) = (shift / 64, shift % 64);
        for index in (words..self.0.len()).rev() {
            let mut word = other.0[index - words] << bits;
            if bits > 0 && index > words {
                word |= other.0[index - words - 1] >> (64 - bits);
            }
            self.0[index] |= word;
        }
    }
}
