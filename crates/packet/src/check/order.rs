//! Which packets happen before which: reachability over tokens, one packet at a time.
//!
//! A row is the set of packets that happen before a packet. Rows are kept only while a packet that
//! waits for them is still to come.

use std::collections::HashMap;

use crate::packet::Packet;

/// Bytes of rows that may be kept at the same time.
const MAX_BYTES: usize = 512 << 20;

/// The order that tokens give, as seen from one packet after the other.
#[derive(Debug)]
pub struct Order {
    /// The packets whose tokens each packet waits for, the latest first.
    before: Vec<Vec<u32>>,
    /// The last packet that waits for each packet; itself if none does.
    last_waiter: Vec<u32>,
    rows: Vec<Option<Box<[u64]>>>,
    kept: usize,
    /// Bytes of rows that may be kept.
    limit: usize,
    current: Vec<u64>,
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
        let rows = vec![None; packets.len()];
        Self {
            before,
            last_waiter,
            rows,
            kept: 0,
            limit: MAX_BYTES,
            current: Vec::new(),
        }
    }

    /// Goes on to the packet `at`, the next in the stream. Gives false where memory runs out.
    pub fn advance(&mut self, at: usize) -> bool {
        self.current.clear();
        self.current.resize(at / 64 + 1, 0);
        for &earlier in &self.before[at] {
            let index = earlier as usize;
            // What happens before a packet that is in the set is in the set.
            if self.current[index / 64] >> (index % 64) & 1 == 0 {
                self.current[index / 64] |= 1 << (index % 64);
                let row = self.rows[index].as_deref().unwrap_or_default();
                for (word, more) in self.current.iter_mut().zip(row) {
                    *word |= more;
                }
            }
        }
        for &earlier in &self.before[at] {
            if self.last_waiter[earlier as usize] as usize == at {
                let row = self.rows[earlier as usize].take();
                self.kept -= row.map_or(0, |row| row.len() * 8);
            }
        }
        if self.last_waiter[at] as usize > at {
            self.kept += self.current.len() * 8;
            self.rows[at] = Some(self.current.as_slice().into());
        }
        self.kept <= self.limit
    }

    /// Whether `earlier` is done before the present packet starts.
    pub fn before(&self, earlier: u32) -> bool {
        let index = earlier as usize;
        self.current
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
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
        order.limit = 10_000;
        assert!(!(0..1000).all(|at| order.advance(at)));
    }
}
