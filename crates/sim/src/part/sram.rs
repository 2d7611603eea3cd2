//! SRAM ports: one server for all units.
//!
//! A command books all bytes that it reads and writes when it starts; it cannot end before they are
//! served. Banks are taken as evenly used.

/// The ports of all banks.
#[derive(Clone, Debug)]
pub struct Ports {
    bytes_per_cycle: u64,
    free: u64,
}

impl Ports {
    /// Idle ports.
    pub fn new(bytes_per_cycle: u64) -> Self {
        Self {
            bytes_per_cycle: bytes_per_cycle.max(1),
            free: 0,
        }
    }

    /// Serves `bytes` from cycle `now` on, behind what was booked before; returns the cycle of the end.
    pub fn book(&mut self, now: u64, bytes: u64) -> u64 {
        let start = self.free.max(now);
        self.free = start + bytes.div_ceil(self.bytes_per_cycle);
        self.free
    }
}
