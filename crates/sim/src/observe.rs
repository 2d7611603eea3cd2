//! What a run tells while it goes on, for those who write it down and keep nothing.

use packwright_packet::defs::Command;
use packwright_packet::operand::RegionId;

use crate::report::UnitId;

/// Somebody who is told what happens, in order of time.
pub trait Observer {
    /// The first command of a packet starts on a unit.
    fn packet_starts(&mut self, packet: usize, unit: UnitId, cycle: u64);

    /// A command is done.
    fn command_ends(&mut self, done: &Done<'_>);

    /// The last command of a packet is done; its tokens are signalled.
    fn packet_ends(&mut self, packet: usize, cycle: u64);
}

/// A command that is done.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    pub unit: UnitId,
    pub command: &'a Command,
    pub packet: usize,
    pub start: u64,
    pub end: u64,
    /// Cycles that the SRAM ports held it up.
    pub ports: u64,
    /// The region and the bytes of a transfer.
    pub moves: Option<(RegionId, u64)>,
}
