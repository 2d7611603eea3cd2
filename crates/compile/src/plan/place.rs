//! Placement: addresses for buffers whose lives overlap.

use std::ops::Range;

use super::Buffer;

/// Gives every buffer an address. Buffers that lie over others get theirs. At each step so many bytes have to be free
/// `above` the buffers that are alive; returns the highest end of these. Each step has its number in `above`.
///
/// Each in turn at the lowest address that is free during its life; several orders are tried, and the
/// one that ends lowest counts. Ties go to the earlier life, then to the earlier buffer, so that the result
/// depends on the buffers only.
pub fn place(buffers: &mut [Buffer], alignment: u64, above: &[u64]) -> u64 {
    let bottom = bottoms(buffers);
    let mut lives: Vec<Range<usize>> = buffers.iter().map(|b| b.life.clone()).collect();
    for (index, &under) in bottom.iter().enumerate() {
        lives[under].start = lives[under].start.min(buffers[index].life.start);
        lives[under].end = lives[under].end.max(buffers[index].life.end);
    }
    let mut best: Option<(Ends, Vec<u64>)> = None;
    for order in ORDERS {
        let mut turn: Vec<usize> = (0..buffers.len()).filter(|&i| bottom[i] == i).collect();
        turn.sort_by_key(|&i| {
            let (bytes, steps) = (buffers[i].bytes, lives[i].len() as u64);
            let key = match order {
                Order::Size => (bytes, steps),
                Order::Area => (bytes * steps, bytes),
                Order::Steps => (steps, bytes),
            };
            (std::cmp::Reverse(key), lives[i].start, i)
        });
        let addrs = lowest(buffers, &lives, &turn, alignment);
        let mut tops = vec![0; above.len()];
        for &i in &turn {
            let end = addrs[i] + buffers[i].bytes.next_multiple_of(alignment);
            for top in &mut tops[lives[i].clone()] {
                *top = end.max(*top);
            }
        }
        let highest = tops.iter().zip(above).map(|(top, above)| top + above).max();
        let ends = Ends {
            highest: highest.unwrap_or(0),
            sum: tops.iter().sum(),
        };
        if best.as_ref().is_none_or(|(known, _)| ends < *known) {
            best = Some((ends, addrs));
        }
    }
    let (ends, addrs) = best.unwrap_or_default();
    for index in 0..buffers.len() {
        buffers[index].addr = addrs[bottom[index]];
    }
    ends.highest
}

/// Where buffers end: what a placement is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ends {
    /// At any step, with what is free above.
    highest: u64,
    /// Of all steps.
    sum: u64,
}

/// The most bytes that are alive at one step, with those that have to be free above them.
pub fn peak_with(buffers: &[Buffer], alignment: u64, above: &[u64]) -> u64 {
    let mut live = live(buffers, alignment);
    live.resize(live.len().max(above.len()), 0);
    let above = above.iter().chain(std::iter::repeat(&0));
    let all = live.iter().zip(above).map(|(live, above)| live + above);
    all.max().unwrap_or(0)
}

/// By what buffers come first.
#[derive(Clone, Copy)]
enum Order {
    Size,
    /// Bytes times steps.
    Area,
    Steps,
}

const ORDERS: [Order; 3] = [Order::Size, Order::Area, Order::Steps];

/// Puts buffers at the lowest free addresses, one after the other.
fn lowest(buffers: &[Buffer], lives: &[Range<usize>], turn: &[usize], alignment: u64) -> Vec<u64> {
    let mut placed: Vec<usize> = Vec::new();
    let mut addrs = vec![0; buffers.len()];
    for &index in turn {
        let bytes = buffers[index].bytes.next_multiple_of(alignment);
        let life = &lives[index];
        let mut taken: Vec<(u64, u64)> = placed
            .iter()
            .filter(|&&i| lives[i].start < life.end && life.start < lives[i].end)
            .map(|&i| (addrs[i], buffers[i].bytes.next_multiple_of(alignment)))
            .map(|(addr, bytes)| (addr, addr + bytes))
            .collect();
        taken.sort_unstable();
        let mut addr = 0;
        for (start, end) in taken {
            if addr + bytes <= start {
                break;
            }
            addr = addr.max(end);
        }
        addrs[index] = addr;
        placed.push(index);
    }
    addrs
}

/// The buffer at the bottom of the pile that each buffer lies on.
fn bottoms(buffers: &[Buffer]) -> Vec<usize> {
    (0..buffers.len())
        .map(|index| {
            let mut bottom = index;
            while let Some(under) = buffers[bottom].over {
                bottom = under;
            }
            bottom
        })
        .collect()
}

/// The steps for which a buffer needs room of its own.
fn own_life(buffers: &[Buffer], buffer: &Buffer) -> Range<usize> {
    let start = match buffer.over {
        Some(under) => buffers[under].life.end,
        None => buffer.life.start,
    };
    start..buffer.life.end.max(start)
}

/// The most bytes that are alive at one step, and the first such step: no placement can do with less.
pub fn live_peak(buffers: &[Buffer], alignment: u64) -> (u64, usize) {
    let live = live(buffers, alignment);
    let mut peak = (0, 0);
    for (step, &bytes) in live.iter().enumerate() {
        if bytes > peak.0 {
            peak = (bytes, step);
        }
    }
    peak
}

/// The bytes that are alive at each step.
pub fn live(buffers: &[Buffer], alignment: u64) -> Vec<u64> {
    let end = buffers.iter().map(|b| b.life.end).max().unwrap_or(0);
    let mut change = vec![0i64; end + 1];
    for buffer in buffers {
        let bytes = buffer.bytes.next_multiple_of(alignment) as i64;
        let life = own_life(buffers, buffer);
        change[life.start] += bytes;
        change[life.end] -= bytes;
    }
    let mut sum = 0;
    change
        .iter()
        .take(end)
        .map(|change| {
            sum += change;
            sum as u64
        })
        .collect()
}
