//! The address map: which bits of a burst's number name channel, rank, bank group, bank and row.

use packwright_target::memory::Dram as Geometry;

use crate::error::SimError;

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
    fields: Vec<(Field, u32)>,
    hash: bool,
    channels: u64,
    ranks: u64,
    groups: u64,
    /// Banks of a group.
    banks: u64,
    /// Bits below the lowest field that is no column: bursts next to each other in a row.
    pub granule_bits: u32,
    /// Bits below the channel, and of the channel.
    pub channel_at: u32,
    pub channel_bits: u32,
    /// Bits below which a run meets no second row of a bank, where such a stretch meets all bank groups.
    pub stripe_bits: Option<u32>,
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
        Ok(Self {
            hash: dram.bank_hash,
            channels: u64::from(dram.channels.max(1)),
            ranks: u64::from(dram.ranks.max(1)),
            groups: u64::from(dram.bank_groups.max(1)),
            banks: u64::from(dram.banks_per_group.max(1)),
            granule_bits,
            channel_at,
            channel_bits: dram.channels.max(1).trailing_zeros(),
            stripe_bits: (fits && stripe_bits > channel_at).then_some(stripe_bits),
            fields,
        })
    }

    /// Where a burst lies.
    pub fn place(&self, burst: u64) -> Place {
        let fields = self.decode(burst);
        let (group, bank) = self.bank(&fields, fields.group);
        Place {
            channel: (fields.channel % self.channels) as usize,
            group,
            bank,
            row: fields.row,
        }
    }

    /// The banks, by bank group, in which the stripe of a burst lies in each channel; with its row.
    pub fn stripe(&self, burst: u64) -> (impl Iterator<Item = usize> + Clone + '_, u64) {
        let fields = self.decode(burst);
        let groups = (0..self.groups).map(move |group| self.bank(&fields, group).1);
        (groups, fields.row)
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

    /// Group and bank, counted over the channel, for a group field of `group`.
    fn bank(&self, fields: &Fields, group: u64) -> (usize, usize) {
        let (mut group, mut bank) = (group % self.groups, fields.bank);
        if self.hash {
            group = (group ^ (fields.row % self.groups)) % self.groups;
            bank ^= (fields.row / self.groups) % self.banks;
        }
        let group = group + self.groups * (fields.rank % self.ranks);
        (
            group as usize,
            (bank % self.banks + self.banks * group) as usize,
        )
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

fn parse_fields(map: &str) -> Result<Vec<(Field, u32)>, &'static str> {
    let mut fields = Vec::new();
    let mut words = map.split_whitespace().peekable();
    while let Some(word) = words.next() {
        if word == "row" {
            return match words.peek() {
                Some(_) => Err("row comes last"),
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
