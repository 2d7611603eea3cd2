//! The address map: which bits of a burst's number name channel, rank, bank group, bank and row.

use packwright_target::memory::Dram as Geometry;

use crate::error::SimError;
use crate::part::divisor::Divisor;

/// Bursts next to each other in one row of one bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub channel: usize,
    /// Bank group, counted over the ranks of the channel.
    pub group: usize,
    /// Bank, counted over the groups of the channel.
    pub bank: usize,
    pub row: u64,
}

/// Fields of the number of a burst, from the lowest bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressMap {
    group: Bits,
    bank: Bits,
    channel: Bits,
    rank: Bits,
    row_at: u32,
    hash: bool,
    channels: Divisor,
    ranks: Divisor,
    groups: Divisor,
    /// Banks of a group.
    banks: Divisor,
    /// Bits below the lowest field that is no column: bursts next to each other in a row.
    pub granule_bits: u32,
    /// Bits of the bank group, where it lies directly above a granule.
    pub round_bits: u32,
    /// Bits below the channel, and of the channel.
    pub channel_at: u32,
    pub channel_bits: u32,
    /// Bits below which a run meets no second row of a bank, where such a stretch meets all bank groups.
    pub stripe_bits: Option<u32>,
}

/// Where a field lies in the number of a burst; a field that is not there is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bits {
    at: u32,
    mask: u64,
}

impl Bits {
    #[inline(always)]
    fn of(self, burst: u64) -> u64 {
        burst >> self.at & self.mask
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Column,
    Group,
    Bank,
    Channel,
    Rank,
}

impl AddressMap {
    /// Reads the map of a memory.
    ///
    /// # Errors
    /// When it is not understood.
    pub fn parse(dram: &Geometry) -> Result<Self, SimError> {
        let wrong = |why: &str| SimError::AddressMap {
            map: dram.address_map.clone(),
            why: why.to_owned(),
        };
        let mut fields = parse_fields(&dram.address_map).map_err(wrong)?;
        set_channel_bits(&mut fields, dram.channels)
            .ok_or_else(|| wrong("channels are a power of two"))?;
        let below = |place: Option<usize>| -> u32 {
            let place = place.unwrap_or(fields.len());
            fields[..place].iter().map(|&(_, bits)| bits).sum()
        };
        let position = |wanted: Field| fields.iter().position(|&(field, _)| field == wanted);
        let (granule_bits, channel_at) = (
            below(fields.iter().position(|&(field, _)| field != Field::Column)),
            below(position(Field::Channel)),
        );
        let top = fields
            .iter()
            .rposition(|&(field, _)| field == Field::Column);
        let low = |field: Field| position(field).is_some_and(|place| Some(place) < top);
        let groups = dram.bank_groups <= 1 || low(Field::Group);
        let fits = groups && !low(Field::Bank) && !low(Field::Rank);
        let stripe_bits = below(top.map(|place| place + 1));
        let bits = |wanted: Field| {
            let place = position(wanted);
            place.map_or(Bits::default(), |place| Bits {
                at: below(Some(place)),
                mask: (1 << fields[place].1) - 1,
            })
        };
        let divisor = |count: u32| Divisor::new(u64::from(count));
        let group = bits(Field::Group);
        let adjacent = group.at == granule_bits && group.mask + 1 == u64::from(dram.bank_groups);
        Ok(Self {
            group,
            round_bits: match adjacent {
                true => group.mask.count_ones(),
                false => 0,
            },
            bank: bits(Field::Bank),
            channel: bits(Field::Channel),
            rank: bits(Field::Rank),
            row_at: below(None),
            hash: dram.bank_hash,
            channels: divisor(dram.channels),
            ranks: divisor(dram.ranks),
            groups: divisor(dram.bank_groups),
            banks: divisor(dram.banks_per_group),
            granule_bits,
            channel_at,
            channel_bits: dram.channels.max(1).trailing_zeros(),
            stripe_bits: (fits && stripe_bits > channel_at).then_some(stripe_bits),
        })
    }

    /// Where a burst lies.
    #[inline(always)]
    pub fn place(&self, burst: u64) -> Place {
        self.place_in(&self.home(burst), burst)
    }

    /// Where a burst lies whose stripe is at home there.
    #[inline(always)]
    pub fn place_in(&self, home: &Home, burst: u64) -> Place {
        let (group, bank) = self.banked(home, self.group.of(burst));
        Place {
            channel: self.channels.remainder(self.channel.of(burst)) as usize,
            group,
            bank,
            row: home.row,
        }
    }

    /// Where a burst lies whose stripe has these banks, by bank group, and this row.
    #[inline(always)]
    pub fn place_in_stripe(&self, banks: &[usize], row: u64, burst: u64) -> Place {
        let bank = banks[self.groups.remainder(self.group.of(burst)) as usize];
        Place {
            channel: self.channels.remainder(self.channel.of(burst)) as usize,
            group: self.banks.quotient(bank as u64) as usize,
            bank,
            row,
        }
    }

    /// Puts the banks, by bank group, in which the stripe of a burst lies in each channel, into `banks`; gives its
    /// row.
    #[inline(always)]
    pub fn stripe(&self, burst: u64, banks: &mut Vec<usize>) -> u64 {
        let home = self.home(burst);
        if let (1, [bank]) = (self.groups.value(), banks.as_mut_slice()) {
            *bank = self.banked(&home, 0).1;
            return home.row;
        }
        banks.resize(self.groups.value() as usize, 0);
        for (group, bank) in (0..).zip(banks) {
            *bank = self.banked(&home, group).1;
        }
        home.row
    }

    /// How many of the bursts from `first` to `last` lie in a channel.
    pub fn share(&self, channel: usize, first: u64, last: u64) -> u64 {
        let (width, own) = (1 << self.channel_at, (channel as u64) << self.channel_at);
        let below = |burst: u64| {
            let round = burst >> (self.channel_at + self.channel_bits);
            let rest = burst - (round << (self.channel_at + self.channel_bits));
            (round << self.channel_at) + rest.saturating_sub(own).min(width)
        };
        below(last + 1) - below(first)
    }

    /// What the place of a burst follows from besides its channel and its bank group: the same for a stripe.
    #[inline(always)]
    pub fn home(&self, burst: u64) -> Home {
        let row = burst >> self.row_at;
        let (turn, flip) = match self.hash {
            true => (
                self.groups.remainder(row),
                self.banks.remainder(self.groups.quotient(row)),
            ),
            false => (0, 0),
        };
        Home {
            row,
            turn,
            bank: self.banks.remainder(self.bank.of(burst) ^ flip),
            below: self.groups.value() * self.ranks.remainder(self.rank.of(burst)),
        }
    }

    /// Group and bank, counted over the channel, for a group field of `group`.
    #[inline(always)]
    fn banked(&self, home: &Home, group: u64) -> (usize, usize) {
        let group = self.groups.remainder(group);
        let group = self.groups.remainder(group ^ home.turn) + home.below;
        let bank = home.bank + self.banks.value() * group;
        (group as usize, bank as usize)
    }
}

/// The part of a burst's place that all channels and bank groups share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    row: u64,
    /// By what the group is hashed.
    turn: u64,
    /// Bank within a group.
    bank: u64,
    /// Groups of the ranks before.
    below: u64,
}

/// Bits of all fields below the row, without those of channels.
const MOST_BITS: u32 = 40;

fn parse_fields(map: &str) -> Result<Vec<(Field, u32)>, &'static str> {
    let mut fields = Vec::new();
    let mut words = map.split_whitespace().peekable();
    while let Some(word) = words.next() {
        if word == "row" {
            let bits: u32 = fields.iter().map(|&(_, bits)| bits).sum();
            return match words.peek() {
                Some(_) => Err("row comes last"),
                None if bits > MOST_BITS => Err("fields are wider than an address"),
                None => Ok(fields),
            };
        }
        let (name, bits) = word.split_once(':').ok_or("a field has no width")?;
        let bits: u32 = bits.parse().map_err(|_| "a width is no number")?;
        let field = match name {
            "column" => Field::Column,
            "bankgroup" => Field::Group,
            "bank" => Field::Bank,
            "channel" => Field::Channel,
            "rank" => Field::Rank,
            _ => return Err("a field has an unknown name"),
        };
        if bits > 16 {
            return Err("a field is wider than 16 bits");
        }
        let twice = fields.iter().any(|&(other, _)| other == field);
        if twice && field != Field::Column {
            return Err("only columns may come twice");
        }
        fields.push((field, bits));
    }
    Err("the row is missing")
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
