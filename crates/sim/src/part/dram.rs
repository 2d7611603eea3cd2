//! LPDDR: ports ask, the address map spreads, the controller of each channel sends.
//!
//! Transfers run on ports, one at a time on each; the requests of a port come in the order of its runs, no
//! more than it may have under way. [`channel`] holds what a controller does with single bursts,
//! [`stream`] the closed forms for long runs, used while nothing but long runs is under way. Times are clocks
//! of the interface; the names are those of the standards.

use packwright_target::Target;

use crate::error::SimError;
use crate::part::runs::Runs;

mod channel;
mod map;
mod port;
pub mod replay;
mod stream;

use channel::{Channel, NEVER, Sent};
use map::AddressMap;
use port::Port;

/// The DRAM of a machine with its ports.
#[derive(Clone, Debug)]
pub struct Dram {
    map: AddressMap,
    burst_bytes: u64,
    burst_clocks: u64,
    queue: u64,
    /// Bytes that a port asks for before others get their turn.
    turn_bytes: u64,
    /// Bytes from which a run is long: closed forms carry it.
    long: u64,
    channels: Vec<Channel>,
    ports: Vec<Port>,
    /// Ports with a transfer, in order.
    active: Vec<usize>,
    turns: u64,
    core: Ratio,
    pub counters: Counters,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of whole bursts.
    pub burst_bytes: u64,
    /// Bytes that ports asked for.
    pub bytes: u64,
    /// Requests that found their row open.
    pub row_hits: u64,
    pub activations: u64,
    pub refreshes: u64,
    /// Changes between reading and writing.
    pub turnarounds: u64,
    /// Clocks that data buses moved data, over all channels.
    pub bus_clocks: u64,
    /// Bursts that closed forms carried.
    pub streamed_bursts: u64,
}

/// Interface clocks and core cycles of the same time, in lowest terms.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    clocks: u64,
    cycles: u64,
}

impl Dram {
    /// The DRAM of a target, at rest, with ports for its DMA engines and `others` behind them. Without
    /// `closed_forms` every burst is chosen by the controller.
    ///
    /// # Errors
    /// When its address map is not understood.
    pub fn new(target: &Target, others: usize, closed_forms: bool) -> Result<Self, SimError> {
        let dram = &target.dram;
        let map = AddressMap::parse(dram)?;
        let limit = u64::from(target.dma.outstanding_bursts);
        let ports = vec![Port::new(limit); target.dma.engines as usize + others];
        let (clocks, cycles) = (dram.clock_hz, target.clock_hz);
        let divisor = gcd(clocks, cycles).max(1);
        let long = closed_forms && map.stripe_bits.is_some();
        Ok(Self {
            burst_bytes: u64::from(dram.burst_bytes),
            burst_clocks: u64::from(dram.timing.burst),
            queue: u64::from(dram.queue_bursts),
            turn_bytes: u64::from(target.dma.turn_bytes),
            long: if long { LONG } else { u64::MAX },
            channels: vec![Channel::new(dram); dram.channels as usize],
            map,
            ports,
            active: Vec::new(),
            turns: 0,
            core: Ratio {
                clocks: clocks / divisor,
                cycles: (cycles / divisor).max(1),
            },
            counters: Counters::default(),
        })
    }

    /// The interface clock at or behind a core cycle.
    pub fn clock(&self, cycle: u64) -> u64 {
        scaled(cycle, self.core.clocks, self.core.cycles)
    }

    /// The core cycle at or behind an interface clock.
    pub fn cycle(&self, clock: u64) -> u64 {
        scaled(clock, self.core.cycles, self.core.clocks)
    }

    /// Starts a transfer on a port at clock `now`, which no call of [`Dram::run`] has passed.
    pub fn start(&mut self, port: usize, now: u64, runs: Runs, write: bool) {
        self.counters.bytes += runs.total();
        self.ports[port].start(now, runs, write, self.long);
        if let Err(place) = self.active.binary_search(&port) {
            self.active.insert(place, port);
        }
        self.take_turn(port);
    }

    /// Works until clock `until`, or until a transfer ends before; tells its port and clock.
    pub fn run(&mut self, until: u64) -> Option<(usize, u64)> {
        loop {
            let (mut time, mut turn, mut who) = (NEVER, 0, Who::Nobody);
            for &index in &self.active {
                let port = &self.ports[index];
                if port.is_done() {
                    if port.last <= time {
                        (time, turn, who) = (port.last, 0, Who::Done(index));
                    }
                } else if (port.wake, port.turn) < (time, turn) || who == Who::Nobody {
                    (time, turn, who) = (port.wake, port.turn, Who::Port(index));
                }
            }
            for (index, channel) in self.channels.iter().enumerate() {
                if channel.wake < time {
                    (time, who) = (channel.wake, Who::Channel(index));
                }
            }
            if time > until || time == NEVER {
                return None;
            }
            match who {
                Who::Nobody => return None,
                Who::Done(port) => {
                    self.active.retain(|&other| other != port);
                    return Some((port, time));
                }
                Who::Port(port) => self.ask(port, time),
                Who::Channel(channel) => self.step(channel),
            }
        }
    }

    /// Puts a port behind the others.
    fn take_turn(&mut self, port: usize) {
        self.turns += 1;
        self.ports[port].turn = self.turns;
        self.ports[port].turn_left = self.turn_bytes;
    }

    /// Lets a port ask for its next bytes at clock `now`.
    fn ask(&mut self, index: usize, now: u64) {
        if self.ports[index].long && self.only_long() {
            self.flush();
            match self.next_write() {
                Some(wake) if !self.ports[index].write => {
                    self.take_turn(index);
                    self.ports[index].wake = wake.max(now);
                }
                _ => self.stretch(index, now),
            }
            return;
        }
        let granule = self.burst_bytes << self.map.granule_bits;
        let port = &mut self.ports[index];
        port.reap(now);
        let inside = port.address % self.burst_bytes;
        let room = port.limit.saturating_sub(port.under_way);
        let least = (1 << self.map.granule_bits).min(port.limit.div_ceil(4));
        let bytes = port.left.min(granule - port.address % granule);
        let wanted = (inside + bytes).div_ceil(self.burst_bytes);
        if room < wanted.min(least) {
            port.wait_for_data();
            return;
        }
        let bytes = bytes.min(room * self.burst_bytes - inside);
        let bursts = (inside + bytes).div_ceil(self.burst_bytes);
        let first = port.address / self.burst_bytes;
        port.waits_for_data = false;
        let place = self.map.place(first);
        let (channel, write) = (&mut self.channels[place.channel], port.write);
        let waiting = channel.waiting[usize::from(write)];
        if waiting > 0 && waiting + bursts > self.queue {
            channel.blocked |= 1 << (index % 64);
            port.wake = NEVER;
            return;
        }
        channel.push(now, index, place, bursts, write);
        self.counters.burst_bytes += bursts * self.burst_bytes;
        port.under_way += bursts;
        port.queued += bursts;
        self.advance(index, bytes);
    }

    /// Moves a port behind `bytes` that it has asked for.
    fn advance(&mut self, index: usize, bytes: u64) {
        let long = self.long;
        let port = &mut self.ports[index];
        port.address += bytes;
        port.left -= bytes;
        port.turn_left = port.turn_left.saturating_sub(bytes);
        let over = port.turn_left == 0;
        if port.left == 0 {
            port.next_run(long);
        }
        if over {
            self.take_turn(index);
        }
    }

    /// Lets a channel work at its clock.
    fn step(&mut self, index: usize) {
        let channel = &mut self.channels[index];
        let clock = channel.wake;
        let Some(Sent { port, bursts, end }) = channel.step(&mut self.counters) else {
            return;
        };
        let blocked = std::mem::take(&mut channel.blocked);
        self.ports[port].sent(bursts, end, self.burst_clocks);
        if blocked == 0 {
            return;
        }
        for &index in &self.active {
            let port = &mut self.ports[index];
            let waits = blocked >> (index % 64) & 1 == 1;
            if port.left > 0 && waits {
                port.wake = port.wake.min(clock);
            }
        }
    }

    /// Ports that have something left to ask for.
    fn asking(&self) -> impl Iterator<Item = &Port> {
        let ports = self.active.iter().map(|&index| &self.ports[index]);
        ports.filter(|port| port.left > 0)
    }

    /// Whether nothing but long runs is under way.
    fn only_long(&self) -> bool {
        self.asking().all(|port| port.long)
    }

    /// When the next port asks for writes. The controllers stay in writes as long as enough of them wait, and a
    /// port with a long run sees to that: reads stand behind.
    fn next_write(&self) -> Option<u64> {
        let writes = self.asking().filter(|port| port.write);
        writes.map(|port| port.wake).min()
    }

    /// Sends what waits in the channels, ahead of time.
    fn flush(&mut self) {
        for index in 0..self.channels.len() {
            while !self.channels[index].is_idle() {
                self.step(index);
            }
        }
    }

    /// Sends the bursts from `first` to `last` of a port, granule by granule, each as soon as the port has room for
    /// it; tells when the last data has passed, and when there is room for another granule.
    fn send_granules(&mut self, index: usize, now: u64, (first, last): (u64, u64)) -> (u64, u64) {
        let granule = 1 << self.map.granule_bits;
        let Port { limit, write, .. } = self.ports[index];
        // As many bursts are under way as the port may have and as queues and the way to the memory hold.
        let channels = self.channels.len() as u64;
        let met = (last - first + 1).div_ceil(1 << self.map.channel_at);
        let way = self.channels[0].latency(write) / self.burst_clocks + 1;
        let most = limit.min(met.clamp(1, channels) * (self.queue + way));
        let pieces = &mut self.ports[index].pieces;
        let (mut end, mut at, mut now) = (now, first, now);
        while at <= last {
            let bursts = (granule - at % granule).min(last + 1 - at);
            now = pieces.room(now, bursts, most);
            let place = self.map.place(at);
            let channel = &mut self.channels[place.channel];
            let passed = channel.granule(now, &place, bursts, write, &mut self.counters);
            pieces.push(passed, bursts);
            end = end.max(passed);
            at += bursts;
        }
        (end, pieces.room(now, granule, most))
    }

    /// Sends the bursts from `first` to `last` of one stripe; tells when the last data has passed.
    fn send_stretch(&mut self, now: u64, (first, last): (u64, u64), write: bool) -> u64 {
        let (banks, row) = self.map.stripe(first);
        let granule = 1 << self.map.granule_bits;
        let mut end = now;
        for (number, channel) in self.channels.iter_mut().enumerate() {
            let bursts = self.map.share(number, first, last);
            if bursts > 0 {
                let stretch = (banks.clone(), row, granule);
                end = end.max(channel.stream(now, stretch, bursts, write, &mut self.counters));
            }
        }
        end
    }

    /// Asks for the next stretch of a long run by the closed forms.
    fn stretch(&mut self, index: usize, now: u64) {
        let port = &self.ports[index];
        let stripe = self.burst_bytes << self.map.stripe_bits.unwrap_or(0);
        let bytes = port.left.min(stripe - port.address % stripe);
        let (write, limit) = (port.write, port.limit);
        let first = port.address / self.burst_bytes;
        let last = (port.address + bytes - 1) / self.burst_bytes;
        let bursts = last - first + 1;
        self.counters.burst_bytes += bursts * self.burst_bytes;
        self.counters.streamed_bursts += bursts;
        let (end, wake) = match bytes < SHORT_STRETCH {
            true => self.send_granules(index, now, (first, last)),
            false => {
                let end = self.send_stretch(now, (first, last), write);
                // No port has more than its limit under way: neither over the way to the memory and back, nor
                // when it asks for the next stretch.
                let way = self.channels[0].latency(write) + self.burst_clocks;
                let end = end.max(now + bursts * way / limit.max(1));
                let ahead = limit * self.burst_clocks / self.channels.len() as u64;
                (end, now.max(end.saturating_sub(ahead)))
            }
        };
        let port = &mut self.ports[index];
        port.last = port.last.max(end);
        port.wake = wake;
        self.advance(index, bytes);
    }
}

/// Bytes from which a run is long.
const LONG: u64 = 512;

/// Bytes below which a stretch may leave out banks, and goes granule by granule.
const SHORT_STRETCH: u64 = 2048;

/// Who acts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Done(usize),
    Port(usize),
    Channel(usize),
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// `value · to / from`, rounded up.
fn scaled(value: u64, to: u64, from: u64) -> u64 {
    match value.checked_mul(to) {
        Some(product) => product.div_ceil(from),
        None => {
            let scaled = (u128::from(value) * u128::from(to)).div_ceil(u128::from(from));
            u64::try_from(scaled).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
#[path = "dram_tests.rs"]
mod tests;
