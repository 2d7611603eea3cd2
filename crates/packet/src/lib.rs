//! The machine's orders, in words and bytes.
//!
//! A [`program::Program`] is what a `.npu` file holds: entries, each with a stream of
//! [`packet::Packet`]s over DRAM regions. A packet carries [`defs::Command`]s, all of which stand
//! in one table.
//!
//! ```text
//!             encode ─▶ bytes ─▶ container ─▶ .npu
//!  Program ─┤ disasm ─▶ text (.packets) ─▶ asm ─▶ Program
//!             access ─▶ what is read and written ─▶ check, simulator
//! ```
//!
//! Read in this order: [`defs`] (the table of commands), [`operand`] (what their fields hold),
//! [`packet`], [`program`], [`access`], [`encode`], [`decode`], [`asm`], [`disasm`],
//! [`container`], [`check`].

pub mod defs;
pub mod operand;
pub mod spelling;

pub mod packet;
pub mod program;

pub mod access;
pub mod extent;

pub mod field;
pub mod varint;

pub mod decode;
pub mod docs;
pub mod encode;

pub mod cursor;
pub mod fields;

pub mod container;
pub mod manifest;

pub mod asm;
pub mod disasm;

pub mod check;
