//! LPDDR: ports ask, the address map spreads, the controller of each channel sends.
//!
//! Transfers run on ports, one at a time on each; the requests of a port come in the order of its runs, no
//! more than it may have under way. [`channel`] holds what a controller does with single bursts,
//! [`stream`] the closed forms for long runs, used while nothing but long runs is under way. Times are clocks
//! of the interface; the names are those of the standards.

use packwright_target::Target;

use crate::error::SimError;
use crate::part::divisor::Divisor;
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
    burst_bytes: Divisor,
    burst_clocks: u64,
    /// Bytes of a granule, and of a stripe where the map has them.
    granule: Divisor,
    stripe: Divisor,
    /// Most bursts of a port under way, and the clocks that the buses of all channels take for them.
    limit: Divisor,
    ahead: u64,
    /// Clocks from a column command to the end of its data: of reads, of writes.
    way: [u64; 2],
    /// Bursts that the queue of a channel and the way to its memory hold: of reads, of writes.
    held: [u64; 2],
    queue: u64,
    /// Bytes that a port asks for before others get their turn.
    turn: Divisor,
    /// Bytes from which a run is long: closed forms carry it.
    long: u64,
    channels: Vec<Channel>,
    ports: Vec<Port>,
    /// Ports with a transfer, in order.
    active: Vec<usize>,
    turns: u64,
    core: Ratio,
    /// The banks of the present stripe.
    banks: Vec<usize>,
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
        let (burst, burst_clocks) = (u64::from(dram.burst_bytes), u64::from(dram.timing.burst));
        let latencies = [dram.timing.cl, dram.timing.cwl];
        let way = latencies.map(|latency| u64::from(latency) + burst_clocks);
        Ok(Self {
            burst_bytes: Divisor::new(burst),
            burst_clocks,
            granule: Divisor::new(burst << map.granule_bits),
            stripe: Divisor::new(burst << map.stripe_bits.unwrap_or(0)),
            limit: Divisor::new(limit),
            ahead: limit * burst_clocks / u64::from(dram.channels.max(1)),
            way,
            held: way.map(|way| u64::from(dram.queue_bursts) + way / burst_clocks.max(1)),
            queue: u64::from(dram.queue_bursts),
            turn: Divisor::new(u64::from(target.dma.turn_bytes)),
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
            banks: Vec::new(),
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
            self.stream_reads(until);
            // Who acts next, and when the first of the others does.
            let (mut time, mut turn, mut who) = (NEVER, 0, Who::Nobody);
            let mut others = NEVER;
            let mut asking = Asking {
                only_long: true,
                next_write: None,
                alone: 0,
            };
            for &index in &self.active {
                let port = &self.ports[index];
                if port.left > 0 {
                    asking.only_long &= port.long;
                    if port.write {
                        let first = asking.next_write.unwrap_or(NEVER);
                        asking.next_write = Some(first.min(port.wake));
                    }
                }
                if port.is_done() {
                    if port.last <= time {
                        others = others.min(time);
                        (time, turn, who) = (port.last, 0, Who::Done(index));
                    } else {
                        others = others.min(port.last);
                    }
                } else if (port.wake, port.turn) < (time, turn) || who == Who::Nobody {
                    others = others.min(time);
                    (time, turn, who) = (port.wake, port.turn, Who::Port(index));
                } else {
                    others = others.min(port.wake);
                }
            }
            for (index, channel) in self.channels.iter().enumerate() {
                if channel.wake < time {
                    others = others.min(time);
                    (time, who) = (channel.wake, Who::Channel(index));
                } else {
                    others = others.min(channel.wake);
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
                Who::Port(port) => {
                    asking.alone = until.min(others.saturating_sub(1));
                    self.ask(port, time, &asking);
                }
                Who::Channel(channel) => self.step(channel),
            }
        }
    }

    /// Lets ports ask as long as nothing but long reads is under way: until clock `until`, or until a transfer ends.
    fn stream_reads(&mut self, until: u64) {
        let reads = |&index: &usize| {
            let port = &self.ports[index];
            port.is_done() || port.long && !port.write && port.queued == 0
        };
        if !self.active.iter().all(reads) || !self.channels.iter().all(Channel::is_idle) {
            return;
        }
        loop {
            let (mut next, mut who, mut over) = ((NEVER, 0), None, NEVER);
            for &index in &self.active {
                let port = &self.ports[index];
                if port.left == 0 {
                    over = over.min(port.last);
                } else if (port.wake, port.turn) < next {
                    (next, who) = ((port.wake, port.turn), Some(index));
                }
            }
            match (who, next) {
                (Some(index), (wake, _)) if wake <= until && wake < over => {
                    self.stretch(index, wake);
                }
                _ => return,
            }
        }
    }

    /// Puts a port behind the others.
    fn take_turn(&mut self, port: usize) {
        self.turns += 1;
        self.ports[port].turn = self.turns;
        self.ports[port].turn_left = self.turn.value();
    }

    /// Lets a port ask for its next bytes at clock `now`.
    fn ask(&mut self, index: usize, now: u64, asking: &Asking) {
        if asking.only_long && self.ports[index].long {
            let (next_write, alone) = match self.flush() {
                true => (self.next_write(), now),
                false => (asking.next_write, asking.alone),
            };
            // The controllers stay in writes as long as enough of them wait, and a port with a long run sees to
            // that: reads stand behind.
            match next_write {
                Some(wake) if !self.ports[index].write => {
                    self.take_turn(index);
                    self.ports[index].wake = wake.max(now);
                }
                _ => self.stretches(index, now, alone),
            }
            return;
        }
        let port = &mut self.ports[index];
        port.reap(now);
        let inside = self.burst_bytes.remainder(port.address);
        let room = port.limit.saturating_sub(port.under_way);
        let least = (1 << self.map.granule_bits).min(port.limit.div_ceil(4));
        let bytes = port
            .left
            .min(self.granule.value() - self.granule.remainder(port.address));
        let wanted = self.burst_bytes.quotient_up(inside + bytes);
        if room < wanted.min(least) {
            port.wait_for_data();
            return;
        }
        let bytes = bytes.min(room * self.burst_bytes.value() - inside);
        let bursts = self.burst_bytes.quotient_up(inside + bytes);
        let first = self.burst_bytes.quotient(port.address);
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
        self.counters.burst_bytes += bursts * self.burst_bytes.value();
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

    /// When the next port asks for writes.
    fn next_write(&self) -> Option<u64> {
        let ports = self.active.iter().map(|&index| &self.ports[index]);
        let writes = ports.filter(|port| port.left > 0 && port.write);
        writes.map(|port| port.wake).min()
    }

    /// Sends what waits in the channels, ahead of time; tells whether something did.
    fn flush(&mut self) -> bool {
        let waits = self.channels.iter().any(|channel| !channel.is_idle());
        for index in 0..self.channels.len() {
            while !self.channels[index].is_idle() {
                self.step(index);
            }
        }
        waits
    }

    /// Sends the bursts from `first` to `last` of a port, granule by granule, each as soon as the port has room for
    /// it; tells when the last data has passed, and when there is room for another granule.
    fn send_granules(&mut self, index: usize, now: u64, (first, last): (u64, u64)) -> (u64, u64) {
        let granule = 1 << self.map.granule_bits;
        let Port { limit, write, .. } = self.ports[index];
        // As many bursts are under way as the port may have and as queues and the way to the memory hold.
        let channels = self.channels.len() as u64;
        let met = (last - first + 1).div_ceil(1 << self.map.channel_at);
        let held = self.held[usize::from(write)];
        let most = limit.min(met.clamp(1, channels) * held);
        let home = self.map.home(first);
        // A round over all bank groups, which lies in one channel, goes as one where the run meets all of it.
        let round = granule << self.map.round_bits;
        let row = self.map.stripe(first, &mut self.banks);
        let pieces = &mut self.ports[index].pieces;
        let (mut end, mut at, mut now) = (now, first, now);
        while at <= last {
            let whole = round > granule && at % round == 0 && at + round <= last + 1;
            let bursts = match whole {
                true => round,
                false => (granule - at % granule).min(last + 1 - at),
            };
            now = pieces.room(now, bursts, most);
            let place = self.map.place_in(&home, at);
            let channel = &mut self.channels[place.channel];
            let passed = match whole {
                true => {
                    let stretch = (self.banks.as_slice(), row, granule);
                    channel.stream(now, stretch, bursts, write, &mut self.counters)
                }
                false => channel.granule(now, &place, bursts, write, &mut self.counters),
            };
            pieces.push(passed, bursts);
            end = end.max(passed);
            at += bursts;
        }
        (end, pieces.room(now, granule, most))
    }

    /// Sends the bursts from `first` to `last` of one stripe; tells when the last data has passed.
    fn send_stretch(&mut self, now: u64, (first, last): (u64, u64), write: bool) -> u64 {
        let row = self.map.stripe(first, &mut self.banks);
        let granule = 1 << self.map.granule_bits;
        let bursts = last - first + 1;
        // Whole rounds over the channels give each of them as much.
        let round = (1 << (self.map.channel_at + self.map.channel_bits)) - 1;
        let whole = (first | bursts) & round == 0;
        let mut end = now;
        for (number, channel) in self.channels.iter_mut().enumerate() {
            let bursts = match whole {
                true => bursts >> self.map.channel_bits,
                false => self.map.share(number, first, last),
            };
            if bursts > 0 {
                let stretch = (self.banks.as_slice(), row, granule);
                end = end.max(channel.stream(now, stretch, bursts, write, &mut self.counters));
            }
        }
        end
    }

    /// Asks by the closed forms for the next stretch of a long run, and for those behind it as long as nobody else
    /// acts: until clock `alone`.
    fn stretches(&mut self, index: usize, now: u64, alone: u64) {
        let mut now = now;
        loop {
            self.stretch(index, now);
            let port = &self.ports[index];
            if port.left == 0 || !port.long || port.wake > alone {
                return;
            }
            now = port.wake;
        }
    }

    /// Asks for the next stretch of a long run by the closed forms.
    fn stretch(&mut self, index: usize, now: u64) {
        let port = &self.ports[index];
        // Where others ask too, none takes more than its turn at once.
        let most = match self.active.len() {
            1 => self.stripe,
            _ if self.stripe.value() <= self.turn.value() => self.stripe,
            _ => self.turn,
        };
        let bytes = port
            .left
            .min(most.value() - most.remainder(port.address))
            .min(self.stripe.value() - self.stripe.remainder(port.address));
        let write = port.write;
        let first = self.burst_bytes.quotient(port.address);
        let last = self.burst_bytes.quotient(port.address + bytes - 1);
        let bursts = last - first + 1;
        self.counters.burst_bytes += bursts * self.burst_bytes.value();
        self.counters.streamed_bursts += bursts;
        let (end, wake) = match bytes < SHORT_STRETCH {
            true => self.send_granules(index, now, (first, last)),
            false => {
                let end = self.send_stretch(now, (first, last), write);
                // No port has more than its limit under way: neither over the way to the memory and back, nor
                // when it asks for the next stretch.
                let way = self.limit.quotient(bursts * self.way[usize::from(write)]);
                let end = end.max(now + way);
                (end, now.max(end.saturating_sub(self.ahead)))
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

/// The ports that have something left to ask for.
#[derive(Clone, Copy, Debug)]
struct Asking {
    /// Whether nothing but long runs is under way.
    only_long: bool,
    /// When the first of those that write asks again.
    next_write: Option<u64>,
    /// Until when nobody acts but the port whose turn it is.
    alone: u64,
}

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
