//! The memories: on-chip SRAM and off-chip LPDDR.

use serde::{Deserialize, Serialize};

/// On-chip SRAM, explicitly managed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sram {
    /// Capacity in bytes.
    pub bytes: u64,
    /// Banks; requests to different banks are served in the same cycle.
    pub banks: u32,
    /// Bytes that one bank moves in a cycle.
    pub bank_bytes_per_cycle: u32,
    /// Alignment of buffers in bytes.
    pub alignment: u32,
}

/// Off-chip DRAM: geometry, timing in its own clocks, address map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dram {
    /// Name of the standard and speed grade, e.g. `LPDDR4X-4266`.
    pub standard: String,
    /// Independent channels.
    pub channels: u32,
    /// Width of one channel in bits.
    pub channel_bits: u32,
    /// Transfers per second on each data pin.
    pub transfers_per_second: u64,
    /// Command clock in hertz; the timings below count it.
    pub clock_hz: u64,
    /// Ranks on each channel.
    pub ranks: u32,
    /// Bank groups in a rank; 1 where the standard has none.
    pub bank_groups: u32,
    /// Banks in a bank group.
    pub banks_per_group: u32,
    /// Bytes of one row (page) of one channel.
    pub row_bytes: u32,
    /// Rows of one bank.
    pub rows: u32,
    /// Bytes of one burst.
    pub burst_bytes: u32,
    /// Bursts that the controller of a channel holds for each direction; it sends the first that is ready.
    pub queue_bursts: u32,
    /// Writes that wait before they are sent although reads wait too.
    pub write_high: u32,
    /// Writes that are left when reads get their turn again.
    pub write_low: u32,
    /// A row is closed after so many bursts; 0 keeps it open until another is wanted.
    pub close_after: u32,
    /// How banks are refreshed.
    pub refresh: Refresh,
    /// Timing parameters.
    pub timing: DramTiming,
    /// Address fields from the lowest bit above the burst, e.g. `column:3 channel:1 column:3 bank:3 row`.
    pub address_map: String,
    /// Whether bank bits are hashed with low row bits.
    pub bank_hash: bool,
    /// Where the parameters come from.
    pub source: String,
}

/// How the banks of a channel are refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refresh {
    /// All banks together, every `refi` for `rfc`; nothing moves meanwhile.
    AllBank,
    /// One bank after the other, every `refi_pb` for `rfc_pb`; the others work on.
    PerBank,
    /// Never: a memory that forgets, for comparisons.
    None,
}

/// DRAM timing parameters in command clocks, named as in the standards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct DramTiming {
    pub burst: u32,
    pub cl: u32,
    pub cwl: u32,
    pub rcd: u32,
    pub rp: u32,
    pub ras: u32,
    pub rrd: u32,
    pub faw: u32,
    pub wr: u32,
    pub wtr_l: u32,
    pub wtr_s: u32,
    pub rtp: u32,
    pub ccd_l: u32,
    pub ccd_s: u32,
    /// Data of a read to data of a write on the same bus.
    pub rtw: u32,
    /// Data of one rank to data of another.
    pub rtrs: u32,
    pub refi: u32,
    pub rfc: u32,
    /// Refresh of one bank to refresh of the next.
    pub refi_pb: u32,
    pub rfc_pb: u32,
}
