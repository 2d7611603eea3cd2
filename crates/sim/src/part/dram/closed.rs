//! Who asks next where closed forms carry all that is under way, and how much at once.

use super::channel::{Channel, NEVER};
use super::pieces::Piece;
use super::{Dram, Who};

/// Bytes below which a stretch may leave out banks, and goes granule by granule.
pub(super) const SHORT_STRETCH: u64 = 2048;

impl Dram {
    /// Lets the port that acts next do so, for as long as nobody else does.
    ///
    /// The controllers stay in writes as long as enough of them wait, and a port with many bytes to write sees to
    /// that: reads stand behind.
    pub(super) fn run_closed(&mut self, until: u64) -> Who {
        let (mut next, mut who) = ((NEVER, 0), None);
        let (mut others, mut writes, mut shared) = (NEVER, false, false);
        let mut done = (NEVER, 0);
        for &index in &self.active {
            let port = &self.ports[index];
            if port.left == 0 {
                if port.last <= done.0 {
                    done = (port.last, index);
                }
                continue;
            }
            if port.write != writes {
                if writes {
                    continue;
                }
                // What was found so far reads.
                (next, who, others) = ((NEVER, 0), None, NEVER);
                (writes, shared) = (true, false);
            }
            shared |= port.short;
            let at = (port.wake, port.turn);
            if at < next {
                others = others.min(next.0);
                (next, who) = (at, Some(index));
            } else {
                others = others.min(at.0);
            }
        }
        let clock = match writes {
            true => next.0,
            false => next.0.max(self.wrote),
        };
        let clock = if who.is_some() { clock } else { NEVER };
        self.next = clock.min(done.0);
        if self.next > until || self.next == NEVER {
            return Who::Nobody;
        }
        match who {
            Some(index) if clock < done.0 => {
                let alone = until.min(others.min(done.0).saturating_sub(1));
                let asked = self.stretches(index, clock, (alone, shared));
                if writes {
                    self.wrote = asked;
                }
                Who::Port(index)
            }
            _ => Who::Done(done.1, done.0),
        }
    }

    /// Asks by the closed forms for the next stretch of a transfer, and for those behind it as long as nobody else
    /// acts: until clock `alone`. Tells when it asked last. The memory may be `shared` with short runs.
    fn stretches(&mut self, index: usize, now: u64, (alone, shared): (u64, bool)) -> u64 {
        if self.ports[index].short {
            return self.rows(index, now, alone);
        }
        let mut now = now;
        loop {
            self.stretch(index, now, shared);
            let port = &self.ports[index];
            if port.left == 0 || port.wake > alone {
                return now;
            }
            now = port.wake;
        }
    }

    /// As [`Dram::stretches`] for a transfer of short runs.
    fn rows(&mut self, index: usize, now: u64, alone: u64) -> u64 {
        let (mut now, mut moved) = (now, 0);
        let asked = loop {
            let port = &self.ports[index];
            let (address, left) = (port.address, port.left);
            let stripe = self.stripe.value() - self.stripe.remainder(address);
            let bytes = left.min(stripe);
            let first = self.burst_bytes.quotient(address);
            let last = self.burst_bytes.quotient(address + bytes - 1);
            let (end, wake) = self.send_granules(index, now, (first, last));
            moved += bytes;
            let port = &mut self.ports[index];
            port.last = port.last.max(end);
            port.skip(bytes);
            let asked = std::mem::replace(&mut now, wake);
            if port.left == 0 || now > alone {
                break asked;
            }
        };
        let port = &mut self.ports[index];
        port.wake = if port.left > 0 { now } else { NEVER };
        self.count_turn(index, moved);
        asked
    }

    /// Asks for the next stretch of a long run by the closed forms.
    fn stretch(&mut self, index: usize, now: u64, shared: bool) {
        let port = &self.ports[index];
        // Where others ask too, none takes more than its turn at once; where others ask for short runs, which have
        // no more under way than a port may, neither.
        let most = match self.active.len() {
            1 => self.stripe,
            _ if shared => self.share,
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
        let (end, wake) = match bytes < SHORT_STRETCH {
            true => self.send_granules(index, now, (first, last)),
            false => {
                let bursts = last - first + 1;
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
        port.skip(bytes);
        self.count_turn(index, bytes);
    }

    /// Sends the bursts from `first` to `last` of one stripe; tells when the last data has passed.
    fn send_stretch(&mut self, now: u64, (first, last): (u64, u64), write: bool) -> u64 {
        let row = self.map.stripe(first, &mut self.banks);
        let granule = 1 << self.map.granule_bits;
        let bursts = last - first + 1;
        self.counters.burst_bytes += bursts * self.burst_bytes.value();
        self.counters.streamed_bursts += bursts;
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

    /// Sends the bursts from `first` to `last` of a port, granule by granule, each as soon as the port has room for
    /// it; tells when the last data has passed, and when the last was asked for.
    fn send_granules(&mut self, index: usize, now: u64, (first, last): (u64, u64)) -> (u64, u64) {
        let bursts = last - first + 1;
        self.counters.burst_bytes += bursts * self.burst_bytes.value();
        self.counters.streamed_bursts += bursts;
        let granule = 1 << self.map.granule_bits;
        let write = self.ports[index].write;
        // A round over all bank groups, which lies in one channel, goes as one where the run meets all of it.
        let round = granule << self.map.round_bits;
        let row = self.map.stripe(first, &mut self.banks);
        let (mut end, mut at, mut now) = (now, first, now);
        while at <= last {
            let left = last + 1 - at;
            let whole = round > granule && at & (round - 1) == 0 && left >= round;
            let bursts = match whole {
                true => round,
                false => (granule - (at & (granule - 1))).min(left),
            };
            let place = self.map.place_in_stripe(&self.banks, row, at);
            now = self.room(index, now, (place.channel, bursts));
            let channel = &mut self.channels[place.channel];
            let passed = match whole {
                true => {
                    let stretch = (self.banks.as_slice(), row, granule);
                    channel.round(now, stretch, bursts, write, &mut self.counters)
                }
                false => channel.granule(now, &place, bursts, write, &mut self.counters),
            };
            channel.pieces.push(Piece {
                end: passed,
                bursts: bursts as u32,
                port: index as u16,
                write,
            });
            self.ports[index].in_pieces += bursts;
            end = end.max(passed);
            at += bursts;
        }
        (end, now)
    }

    /// When a port may have, and a channel hold, more bursts: at clock `now` or later. A channel takes as many at once
    /// as its queue and the way to the memory hold, whichever ports they are from.
    #[inline(always)]
    fn room(&mut self, index: usize, now: u64, (channel, more): (usize, u64)) -> u64 {
        let write = self.ports[index].write;
        let held = self.held[usize::from(write)];
        let mut room = now;
        while self.channels[channel].pieces.bursts(write) + more > held {
            let Some(piece) = self.channels[channel].pieces.pop() else {
                break;
            };
            self.ports[usize::from(piece.port)].in_pieces -= u64::from(piece.bursts);
            room = room.max(piece.end);
        }
        while self.ports[index].in_pieces + more > self.ports[index].limit {
            let first = |channel: &&mut Channel| channel.pieces.first_end().unwrap_or(NEVER);
            let next = self.channels.iter_mut().min_by_key(first);
            let Some(piece) = next.and_then(|channel| channel.pieces.pop()) else {
                break;
            };
            self.ports[usize::from(piece.port)].in_pieces -= u64::from(piece.bursts);
            room = room.max(piece.end);
        }
        room
    }
}
