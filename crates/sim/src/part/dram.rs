//! LPDDR: channels, banks, open rows, refresh, and turns of the data bus.
//!
//! Requests are served in the order in which they come. A request waits for its bank (precharge and
//! activation where another row is open), for the limits on activations, and for the data bus of its
//! channel. All banks of a channel refresh together, first at time zero. Times are clocks of the
//! interface; the names are those of the standards.

use packwright_target::Target;
use packwright_target::memory::{Dram as Geometry, DramTiming};

use crate::error::SimError;

/// The DRAM of a machine.
#[derive(Clone, Debug)]
pub struct Dram {
    timing: DramTiming,
    map: AddressMap,
    burst_bytes: u64,
    hash: bool,
    banks_per_group: u64,
    channels: Vec<Channel>,
    /// Core cycles and interface clocks of the same time.
    core_hz: u64,
    dram_hz: u64,
    pub counters: Counters,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of whole bursts.
    pub burst_bytes: u64,
    /// Requests that found their row open.
    pub row_hits: u64,
    pub activations: u64,
    pub refreshes: u64,
    /// Changes between reading and writing.
    pub turnarounds: u64,
    /// Clocks that data buses moved data, over all channels.
    pub bus_clocks: u64,
}

#[derive(Clone, Debug)]
struct Channel {
    bus_free: u64,
    writing: bool,
    next_refresh: u64,
    last_activation: u64,
    /// The last four activations, oldest first.
    activations: [u64; 4],
    /// First clock of the next column command, by bank group.
    groups: Vec<u64>,
    banks: Vec<Bank>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bank {
    row: Option<u64>,
    activated: u64,
    /// First clock of a column command.
    column: u64,
    /// First clock of a precharge, or of an activation where no row is open.
    free: u64,
}

/// Bursts next to each other in one row of one bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    channel: usize,
    group: usize,
    bank: usize,
    row: u64,
}

impl Dram {
    /// The DRAM of a target, at rest.
    ///
    /// # Errors
    /// When its address map is not understood.
    pub fn new(target: &Target) -> Result<Self, SimError> {
        let dram = &target.dram;
        let map = AddressMap::parse(dram)?;
        let groups = dram.bank_groups as usize;
        let channel = Channel {
            bus_free: 0,
            writing: false,
            next_refresh: 0,
            last_activation: 0,
            activations: [0; 4],
            groups: vec![0; groups],
            banks: vec![Bank::default(); (dram.banks() * dram.ranks) as usize],
        };
        Ok(Self {
            timing: dram.timing.clone(),
            map,
            burst_bytes: u64::from(dram.burst_bytes),
            hash: dram.bank_hash,
            banks_per_group: u64::from(dram.banks_per_group),
            channels: vec![channel; dram.channels as usize],
            core_hz: target.clock_hz,
            dram_hz: dram.clock_hz,
            counters: Counters::default(),
        })
    }

    /// The interface clock at or behind a core cycle.
    pub fn clock(&self, cycle: u64) -> u64 {
        scaled(cycle, self.dram_hz, self.core_hz)
    }

    /// The core cycle at or behind an interface clock.
    pub fn cycle(&self, clock: u64) -> u64 {
        scaled(clock, self.core_hz, self.dram_hz)
    }

    /// Bursts that lie next to each other in one row.
    pub fn granule_bursts(&self) -> u64 {
        1 << self.map.granule_bits
    }

    /// Bytes of such a granule.
    pub fn granule_bytes(&self) -> u64 {
        self.granule_bursts() * self.burst_bytes
    }

    /// Serves the bytes from `address` to the end of the run or of the granule, whichever comes first;
    /// returns the bytes served and the clock at which the data is there.
    pub fn serve(&mut self, arrival: u64, address: u64, bytes: u64, write: bool) -> (u64, u64) {
        let granule = self.granule_bytes();
        let served = bytes.min(granule - address % granule);
        let first = address / self.burst_bytes;
        let last = (address + served - 1) / self.burst_bytes;
        let bursts = last - first + 1;
        let place = self.place(first);
        (served, self.request(arrival, place, bursts, write))
    }

    fn place(&self, burst: u64) -> Place {
        let fields = self.map.decode(burst);
        let groups = self.channels[0].groups.len() as u64;
        let (mut group, mut bank) = (fields.group % groups, fields.bank);
        if self.hash {
            group = (group ^ (fields.row % groups)) % groups;
            bank ^= (fields.row / groups) % self.banks_per_group;
        }
        let bank = bank % self.banks_per_group + self.banks_per_group * group;
        let rank = fields.rank * self.banks_per_group * groups;
        Place {
            channel: (fields.channel as usize) % self.channels.len(),
            group: group as usize,
            bank: (bank + rank) as usize % self.channels[0].banks.len(),
            row: fields.row,
        }
    }

    fn request(&mut self, arrival: u64, place: Place, bursts: u64, write: bool) -> u64 {
        let t = &self.timing;
        let [rp, rcd, ras, rrd, faw] = [t.rp, t.rcd, t.ras, t.rrd, t.faw].map(u64::from);
        let channel = &mut self.channels[place.channel];
        channel.refresh(arrival, t, &mut self.counters.refreshes);

        let bank = &mut channel.banks[place.bank];
        if bank.row == Some(place.row) {
            self.counters.row_hits += 1;
        } else {
            let ready = match bank.row {
                Some(_) => arrival.max(bank.free).max(bank.activated + ras) + rp,
                None => arrival.max(bank.free),
            };
            let at = if self.counters.activations == 0 {
                ready
            } else {
                ready
                    .max(channel.last_activation + rrd)
                    .max(channel.activations[0] + faw)
            };
            channel.last_activation = at;
            channel.activations.rotate_left(1);
            channel.activations[3] = at;
            *bank = Bank {
                row: Some(place.row),
                activated: at,
                column: at + rcd,
                free: at,
            };
            self.counters.activations += 1;
        }
        let column = arrival.max(bank.column).max(channel.groups[place.group]);

        let latency = u64::from(if write { t.cwl } else { t.cl });
        let turn = match (channel.writing, write) {
            (true, false) => u64::from(t.wtr_l) + latency,
            (false, true) => BUS_GAP,
            _ => 0,
        };
        if channel.writing != write {
            self.counters.turnarounds += 1;
            channel.writing = write;
        }
        let start = (column + latency).max(channel.bus_free + turn);
        let length = bursts * u64::from(t.burst);
        let end = start + length;
        channel.bus_free = end;
        channel.groups[place.group] = start - latency + bursts * u64::from(t.ccd_l.max(t.burst));
        bank.free = if write {
            end + u64::from(t.wr)
        } else {
            start - latency + length - u64::from(t.burst) + u64::from(t.rtp)
        };
        self.counters.bus_clocks += length;
        self.counters.burst_bytes += bursts * self.burst_bytes;
        end
    }
}

/// Clocks between data of a read and of the write behind it.
const BUS_GAP: u64 = 2;

impl Channel {
    /// Refreshes that are due before a request.
    fn refresh(&mut self, arrival: u64, t: &DramTiming, count: &mut u64) {
        let (refi, rfc) = (u64::from(t.refi), u64::from(t.rfc));
        while self.next_refresh <= arrival.max(self.bus_free) {
            let end = self.next_refresh.max(self.bus_free) + rfc;
            self.bus_free = end;
            for bank in &mut self.banks {
                *bank = Bank {
                    row: None,
                    activated: 0,
                    column: end,
                    free: end,
                };
            }
            self.next_refresh += refi;
            *count += 1;
        }
    }
}

/// `value · to / from`, rounded up.
fn scaled(value: u64, to: u64, from: u64) -> u64 {
    let scaled = (u128::from(value) * u128::from(to)).div_ceil(u128::from(from.max(1)));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Which bits of a burst's number name what, from the lowest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AddressMap {
    fields: Vec<(Field, u32)>,
    /// Width of the lowest field where it counts columns.
    granule_bits: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Column,
    Group,
    Bank,
    Channel,
    Rank,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fields {
    group: u64,
    bank: u64,
    channel: u64,
    rank: u64,
    row: u64,
}

impl AddressMap {
    fn parse(dram: &Geometry) -> Result<Self, SimError> {
        let map = &dram.address_map;
        let wrong = |why: &str| SimError::AddressMap {
            map: map.clone(),
            why: why.to_owned(),
        };
        let mut fields = Vec::new();
        let mut words = map.split_whitespace().peekable();
        while let Some(word) = words.next() {
            if word == "row" {
                if words.peek().is_some() {
                    return Err(wrong("row comes last"));
                }
                let granule_bits = match fields.first() {
                    Some(&(Field::Column, bits)) => bits,
                    _ => 0,
                };
                set_channel_bits(&mut fields, dram.channels)
                    .ok_or_else(|| wrong("channels are a power of two"))?;
                return Ok(Self {
                    fields,
                    granule_bits,
                });
            }
            let (name, bits) = word
                .split_once(':')
                .ok_or_else(|| wrong("a field has no width"))?;
            let bits: u32 = bits.parse().map_err(|_| wrong("a width is no number"))?;
            let field = match name {
                "column" => Field::Column,
                "bankgroup" => Field::Group,
                "bank" => Field::Bank,
                "channel" => Field::Channel,
                "rank" => Field::Rank,
                _ => return Err(wrong("a field has an unknown name")),
            };
            if bits > 16 {
                return Err(wrong("a field is wider than 16 bits"));
            }
            fields.push((field, bits));
        }
        Err(wrong("the row is missing"))
    }

    fn decode(&self, burst: u64) -> Fields {
        let mut rest = burst;
        let mut fields = Fields::default();
        for &(field, bits) in &self.fields {
            let value = rest & ((1 << bits) - 1);
            rest >>= bits;
            match field {
                Field::Column => {}
                Field::Group => fields.group = value,
                Field::Bank => fields.bank = value,
                Field::Channel => fields.channel = value,
                Field::Rank => fields.rank = value,
            }
        }
        fields.row = rest;
        fields
    }
}

/// Makes the channel field as wide as the number of channels asks, so that machines which differ in
/// channels only can share a map: in the place where the map has it, else behind the lowest field.
/// `None` where no width fits.
fn set_channel_bits(fields: &mut Vec<(Field, u32)>, channels: u32) -> Option<()> {
    let width = channels
        .is_power_of_two()
        .then(|| channels.trailing_zeros())?;
    let place = fields
        .iter()
        .position(|&(field, _)| field == Field::Channel);
    match place {
        Some(place) => fields[place].1 = width,
        None => fields.insert(fields.len().min(1), (Field::Channel, width)),
    }
    Some(())
}

#[cfg(test)]
#[path = "dram_tests.rs"]
mod tests;
