//! A list of accesses, asked for in order and as fast as the controllers take them.

use packwright_target::Target;

use super::{Counters, channel::Channel, channel::NEVER, map::AddressMap};
use crate::error::SimError;

/// An access: address, bytes, whether it writes.
pub type Access = (u64, u64, bool);

/// Share of the peak that accesses reach when the queues of the controllers are never empty.
///
/// # Errors
/// When the address map is not understood.
pub fn share_of_peak(
    target: &Target,
    accesses: impl IntoIterator<Item = Access>,
) -> Result<f64, SimError> {
    let dram = &target.dram;
    let map = AddressMap::parse(dram)?;
    let mut channels = vec![Channel::new(dram); dram.channels as usize];
    let (burst, queue) = (u64::from(dram.burst_bytes), u64::from(dram.queue_bursts));
    let granule = burst << map.granule_bits;
    let mut counters = Counters::default();
    let (mut now, mut end, mut moved) = (0, 0, 0);
    let mut step = |channels: &mut [Channel], counters: &mut Counters| {
        let next = channels.iter_mut().min_by_key(|channel| channel.wake)?;
        let clock = next.wake;
        if clock == NEVER {
            return None;
        }
        if let Some(sent) = next.step(counters) {
            end = sent.end.max(end);
        }
        Some(clock)
    };
    for (mut address, mut left, write) in accesses {
        moved += left;
        while left > 0 {
            let bytes = left.min(granule - address % granule);
            let first = address / burst;
            let bursts = (address + bytes - 1) / burst - first + 1;
            let place = map.place(first);
            let waiting = channels[place.channel].waiting[usize::from(write)];
            if waiting > 0 && waiting + bursts > queue {
                now = step(&mut channels, &mut counters).unwrap_or(now);
                continue;
            }
            channels[place.channel].push(now, 0, place, bursts, write);
            (address, left) = (address + bytes, left - bytes);
        }
    }
    while step(&mut channels, &mut counters).is_some() {}
    let seconds = end as f64 / dram.clock_hz as f64;
    Ok(moved as f64 / seconds / target.peak_bytes_per_second())
}
