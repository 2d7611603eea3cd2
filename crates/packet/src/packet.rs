//! Packets: a fragment's orders with what they wait for.

use crate::defs::Command;

/// What packets wait for (`t7`). A token is signalled by exactly one packet of an entry, when its
/// last command is done; every waiter comes later in the stream, so no order of dispatch can lock up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u32);

/// Index into the program's table of origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginId(pub u32);

/// A range of SRAM bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SramRange {
    pub addr: u32,
    pub bytes: u32,
}

/// A small fragment of the data with all that it depends on, and the commands that carry it
/// through a piece of the network. Commands of a packet run one after the other; packets overlap.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The layer that is charged for the packet.
    pub origin: OriginId,
    /// Among packets that are ready for the same unit, the higher priority goes first, then the earlier.
    pub priority: u8,
    /// Tokens that must have been signalled before the first command starts.
    pub waits: Vec<Token>,
    /// Tokens signalled when the last command is done.
    pub signals: Vec<Token>,
    /// SRAM whose contents nobody reads after this packet.
    pub frees: Vec<SramRange>,
    pub commands: Vec<Command>,
}
