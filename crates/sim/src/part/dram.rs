//! LPDDR: ports ask, the address map spreads, the controller of each channel sends.
//!
//! Transfers run on ports, one at a time on each; the requests of a port come in the order of its runs, no
//! more than it may have under way. [`channel`] holds what a controller does with single bursts, [`stream`] the closed
//! forms for stretches and pieces of runs, [`closed`] who asks for them; they carry everything while no rows
//! scattered over a table are under way. Times are clocks of the interface; the names are those of the standards.

use packwright_target::Target;

use crate::error::SimError;
use crate::part::divisor::Divisor;
use crate::part::runs::Runs;

mod activations;
mod channel;
mod closed;
mod map;
mod pieces;
mod port;
pub mod replay;
mod slots;
mod stream;

use channel::{Channel, NEVER, Sent};
use closed::SHORT_STRETCH;
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
    /// Bytes that a port asks for before others get their turn; at once where others ask for short runs.
    turn: Divisor,
    share: Divisor,
    /// Whether closed forms carry what they can.
    closed_forms: bool,
    channels: Vec<Channel>,
    ports: Vec<Port>,
    /// Ports with a transfer, in order.
    active: Vec<usize>,
    turns: u64,
    /// Transfers with something left to ask for that closed forms do not carry.
    asking_singly: usize,
    /// First clock at which something may happen.
    next: u64,
    /// When closed forms asked for writes last.
    wrote: u64,
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
        let divisor = num_integer::gcd(clocks, cycles).max(1);
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
            share: Divisor::new((limit * burst).max(SHORT_STRETCH)),
            closed_forms: closed_forms && map.stripe_bits.is_some(),
            channels: vec![Channel::new(dram); dram.channels as usize],
            map,
            ports,
            active: Vec::new(),
            turns: 0,
            asking_singly: 0,
            next: NEVER,
            wrote: 0,
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
        // Rows all over a table are sent in the order in which they are ready, which only single bursts show.
        let scattered = runs.is_gather() && runs.bytes() < LONG;
        let closed = self.closed_forms && !scattered;
        self.ports[port].start(now, runs, write, closed);
        self.asking_singly += usize::from(!closed && self.ports[port].left > 0);
        self.next = self.next.min(now);
        if let Err(place) = self.active.binary_search(&port) {
            self.active.insert(place, port);
        }
        self.take_turn(port);
    }

    /// Works until clock `until`, or until a transfer ends before; tells its port and clock.
    pub fn run(&mut self, until: u64) -> Option<(usize, u64)> {
        while until >= self.next {
            let who = match self.asking_singly == 0 && self.channels.iter().all(Channel::is_idle) {
                true => self.run_closed(until),
                false => self.run_single(until),
            };
            match who {
                Who::Nobody => return None,
                Who::Done(port, clock) => {
                    self.active.retain(|&other| other != port);
                    return Some((port, clock));
                }
                Who::Port(_) | Who::Channel(_) => {}
            }
        }
        None
    }

    /// Lets who acts next do so, with bursts that are chosen one by one.
    fn run_single(&mut self, until: u64) -> Who {
        let (mut time, mut turn, mut who) = (NEVER, 0, Who::Nobody);
        for &index in &self.active {
            let port = &self.ports[index];
            if port.is_done() {
                if port.last <= time {
                    (time, turn, who) = (port.last, 0, Who::Done(index, port.last));
                }
            } else if (port.wake, port.turn) < (time, turn) || matches!(who, Who::Nobody) {
                (time, turn, who) = (port.wake, port.turn, Who::Port(index));
            }
        }
        for (index, channel) in self.channels.iter().enumerate() {
            if channel.wake < time {
                (time, who) = (channel.wake, Who::Channel(index));
            }
        }
        self.next = time;
        if time > until || time == NEVER {
            return Who::Nobody;
        }
        match who {
            Who::Nobody | Who::Done(..) => {}
            Who::Port(_) if self.asking_singly == 0 => self.flush(),
            Who::Port(port) => self.ask(port, time),
            Who::Channel(channel) => self.step(channel),
        }
        who
    }

    /// Puts a port behind the others.
    fn take_turn(&mut self, port: usize) {
        self.turns += 1;
        self.ports[port].turn = self.turns;
        self.ports[port].turn_left = self.turn.value();
    }

    /// Lets a port ask for its next bytes at clock `now`.
    fn ask(&mut self, index: usize, now: u64) {
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
        port.skip(bytes);
        self.asking_singly -= usize::from(!port.closed && port.left == 0);
        self.count_turn(index, bytes);
    }

    /// Counts bytes that a port has asked for, and puts it behind the others where its turn is over.
    fn count_turn(&mut self, index: usize, bytes: u64) {
        let port = &mut self.ports[index];
        port.turn_left = port.turn_left.saturating_sub(bytes);
        if port.turn_left == 0 {
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

    /// Sends what waits in the channels, ahead of time.
    fn flush(&mut self) {
        for index in 0..self.channels.len() {
            while !self.channels[index].is_idle() {
                self.step(index);
            }
        }
    }
}

/// Bytes from which closed forms carry the rows of a gather.
const LONG: u64 = 512;

/// Who acts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    /// A transfer has ended on this port, at this clock.
    Done(usize, u64),
    Port(usize),
    Channel(usize),
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
