//! Placement: addresses for buffers whose lives overlap.

use super::Buffer;

/// Gives every buffer an address and returns the end of the highest one.
///
/// Larger buffers first, each at the lowest address that is free during its life; ties go to the
/// earlier life, then to the earlier buffer, so that the result depends on the buffers only.
pub fn place(buffers: &mut [Buffer], alignment: u64) -> u64 {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| {
        (
            std::cmp::Reverse(buffers[i].bytes),
            buffers[i].life.start,
            i,
        )
    });
    let mut placed: Vec<usize> = Vec::new();
    let mut top = 0;
    for index in order {
        let bytes = buffers[index].bytes.next_multiple_of(alignment);
        let life = buffers[index].life.clone();
        let mut taken: Vec<(u64, u64)> = placed
            .iter()
            .map(|&i| &buffers[i])
            .filter(|b| b.life.start < life.end && life.start < b.life.end)
            .map(|b| (b.addr, b.addr + b.bytes.next_multiple_of(alignment)))
            .collect();
        taken.sort_unstable();
        let mut addr = 0;
        for (start, end) in taken {
            if addr + bytes <= start {
                break;
            }
            addr = addr.max(end);
        }
        buffers[index].addr = addr;
        top = top.max(addr + bytes);
        placed.push(index);
    }
    top
}

/// The most bytes that are alive at one step: no placement can do with less.
pub fn live_peak(buffers: &[Buffer], alignment: u64) -> (u64, usize) {
    let end = buffers.iter().map(|b| b.life.end).max().unwrap_or(0);
    (0..end)
        .map(|step| {
            let live: u64 = buffers
                .iter()
                .filter(|b| b.life.contains(&step))
                .map(|b| b.bytes.next_multiple_of(alignment))
                .sum();
            (live, step)
        })
        .max_by_key(|&(live, step)| (live, std::cmp::Reverse(step)))
        .unwrap_or((0, 0))
}
