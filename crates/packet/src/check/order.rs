//! Which packets happen before which: reachability over tokens, one packet at a time.
//!
//! A row is the set of packets that happen before a packet. Rows are kept only while a packet that
//! waits for them is still to come. Of long ago they hold the same packets, so they are cut into chunks, which rows share.

use std::collections::HashMap;
use std::rc::Rc;

use crate::packet::Packet;

/// Bytes of rows that may be kept at the same time.
const MAX_BYTES: usize = 512 << 20;

/// Words of a chunk.
const WORDS: usize = 16;

/// Packets of a chunk.
const PACKETS: usize = WORDS * 64;

/// Whether some packets that follow each other are in a set.
type Chunk = [u64; WORDS];

/// A set of packets.
type Row = Vec<Rc<Chunk>>;

/// A row that a later packet waits for, and what it takes for itself.
#[derive(Clone, Debug)]
struct Kept {
    row: Row,
    bytes: usize,
}

/// The order that tokens give, as seen from one packet after the other.
#[derive(Debug)]
pub struct Order {
    /// The packets whose tokens each packet waits for, the latest first.
    before: Vec<Vec<u32>>,
    /// The last packet that waits for each packet; itself if none does.
    last_waiter: Vec<u32>,
    rows: Vec<Option<Kept>>,
    kept: usize,
    /// Bytes of rows that may be kept.
    limit: usize,
    current: Row,
    /// Chunks without packets are one.
    empty: Rc<Chunk>,
}

impl Order {
    /// Prepares for packets whose tokens are sound; starts in front of the first.
    pub fn new(packets: &[Packet]) -> Self {
        let mut signaller = HashMap::new();
        let mut last_waiter: Vec<_> = (0..packets.len() as u32).collect();
        let mut before = Vec::with_capacity(packets.len());
        for (at, packet) in (0..).zip(packets) {
            let waits = packet
                .waits
                .iter()
                .filter_map(|token| signaller.get(token).copied());
            let mut list: Vec<u32> = waits.collect();
            list.sort_unstable_by(|a, b| b.cmp(a));
            list.dedup();
            for &earlier in &list {
                last_waiter[earlier as usize] = at;
            }
            before.push(list);
            signaller.extend(packet.signals.iter().map(|&token| (token, at)));
        }
        Self {
            before,
            last_waiter,
            rows: vec![None; packets.len()],
            kept: 0,
            limit: MAX_BYTES,
            current: Vec::new(),
            empty: Rc::new([0; WORDS]),
        }
    }

    /// Goes on to the packet `at`, the next in the stream. Gives false where memory runs out.
    pub fn advance(&mut self, at: usize) -> bool {
        self.current.clear();
        self.current
            .resize(at / PACKETS + 1, Rc::clone(&self.empty));
        for &earlier in &self.before[at] {
            let index = earlier as usize;
            // What happens before a packet that is in the set is in the set.
            if contains(&self.current, index) {
                continue;
            }
            let row = self.rows[index].as_ref().map(|kept| kept.row.as_slice());
            for (chunk, more) in self.current.iter_mut().zip(row.unwrap_or_default()) {
                unite(chunk, more);
            }
            let chunk = Rc::make_mut(&mut self.current[index / PACKETS]);
            chunk[index % PACKETS / 64] |= 1 << (index % 64);
        }
        for &earlier in &self.before[at] {
            if self.last_waiter[earlier as usize] as usize == at {
                let row = self.rows[earlier as usize].take();
                self.kept -= row.map_or(0, |row| row.bytes);
            }
        }
        if self.last_waiter[at] as usize > at {
            // Only this row has those chunks so far.
            let own = self.current.iter().filter(|c| Rc::strong_count(c) == 1);
            let bytes =
                own.count() * size_of::<Chunk>() + self.current.len() * size_of::<Rc<Chunk>>();
            self.kept += bytes;
            let row = self.current.clone();
            self.rows[at] = Some(Kept { row, bytes });
        }
        self.kept <= self.limit
    }

    /// Whether `earlier` is done before the present packet starts.
    pub fn before(&self, earlier: u32) -> bool {
        contains(&self.current, earlier as usize)
    }
}

fn contains(row: &[Rc<Chunk>], index: usize) -> bool {
    row.get(index / PACKETS)
        .is_some_and(|chunk| chunk[index % PACKETS / 64] >> (index % 64) & 1 == 1)
}

/// Adds packets to a chunk; where one of the two has all of them, it is shared.
fn unite(chunk: &mut Rc<Chunk>, more: &Rc<Chunk>) {
    if Rc::ptr_eq(chunk, more) {
        return;
    }
    let has_all = |a: &Chunk, b: &Chunk| a.iter().zip(b).all(|(a, b)| b & !a == 0);
    if has_all(more, chunk) {
        *chunk = Rc::clone(more);
    } else if !has_all(chunk, more) {
        let own = Rc::make_mut(chunk);
        for (word, more) in own.iter_mut().zip(more.iter()) {
            *word |= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{OriginId, Token};

    /// Packets that each signal the token of their own index and wait for the given ones.
    fn packets(waits: &[&[u32]]) -> Vec<Packet> {
        let packet = |(at, waits): (u32, &&[u32])| Packet {
            origin: OriginId(0),
            priority: 0,
            waits: waits.iter().copied().map(Token).collect(),
            signals: vec![Token(at)],
            frees: Vec::new(),
            commands: Vec::new(),
        };
        (0..).zip(waits).map(packet).collect()
    }

    #[test]
    fn order_is_transitive() {
        let packets = packets(&[&[], &[], &[0], &[2], &[1]]);
        let mut order = Order::new(&packets);
        let before = (0..packets.len()).map(|at| {
            assert!(order.advance(at));
            (0..5).filter(|&earlier| order.before(earlier)).collect()
        });
        let before: Vec<Vec<u32>> = before.collect();
        assert_eq!(before, [vec![], vec![], vec![0], vec![0, 2], vec![1]]);
    }

    #[test]
    fn rows_are_kept_only_while_somebody_waits() {
        let chain: Vec<Vec<u32>> = (0..1000u32)
            .map(|at| at.checked_sub(1).into_iter().collect())
            .collect();
        let chain: Vec<&[u32]> = chain.iter().map(Vec::as_slice).collect();
        let packets = packets(&chain);
        let mut order = Order::new(&packets);
        order.limit = 256;
        assert!((0..1000).all(|at| order.advance(at)));
        assert!((0..999).all(|earlier| order.before(earlier)));
    }

    #[test]
    fn too_many_open_tokens_are_a_limit() {
        let all: Vec<u32> = (0..999).collect();
        let mut waits: Vec<&[u32]> = vec![&[]; 999];
        waits.push(&all);
        let packets = packets(&waits);
        let mut order = Order::new(&packets);
        order.limit = 1000;
        assert!(!(0..1000).all(|at| order.advance(at)));
    }

    #[test]
    fn rows_share_what_they_have_in_common() {
        // A chain of which the last packet waits for every link: all rows are kept, each with all packets before it.
        let count = 10_000_u32;
        let mut waits: Vec<Vec<u32>> = (0..count)
            .map(|at| at.checked_sub(1).into_iter().collect())
            .collect();
        waits.push((0..count).collect());
        let waits: Vec<&[u32]> = waits.iter().map(Vec::as_slice).collect();
        let packets = packets(&waits);
        let mut order = Order::new(&packets);
        // Of bits alone they would take twice as much.
        order.limit = (count * count / 32) as usize;
        assert!((0..=count as usize).all(|at| order.advance(at)));
        assert!((0..count).all(|earlier| order.before(earlier)));
    }
}
