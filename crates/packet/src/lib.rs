//! The machine's orders, in words and bytes.
//!
//! A [`program::Program`] is what a `.npu` file holds: entries, each with a stream of
//! [`packet::Packet`]s over DRAM regions. A packet carries [`defs::Command`]s, all of which stand
//! in one table.
//!
//! Read in this order: [`defs`] (the table of commands), [`operand`] (what their fields hold),
//! [`packet`], [`program`], [`encode`], [`decode`], [`asm`], [`disasm`], [`container`], [`check`].

pub mod defs;
pub mod operand;
pub mod packet;
pub mod program;
