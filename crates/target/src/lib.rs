//! The machine in numbers.
//!
//! A [`Target`] describes one packet NPU: its clock, matrix cores, vector units, SRAM, DMA engines,
//! packet sequencer and LPDDR. Presets are TOML files whose every number carries its unit in its
//! name; they are ours, not a vendor's. Rates and closed-form limits are derived in [`limits`] and
//! never stored twice.
//!
//! ```text
//!  stream ─▶ sequencer ─▶ { DMA engines ─ LPDDR }  { matrix cores }  { vector units }
//!                                     └────────── shared SRAM ──────────┘
//! ```
//!
//! Read in this order: [`target`] (the whole), [`engine`] (matrix, vector, DMA, sequencer),
//! [`memory`] (SRAM and LPDDR), [`unit`] (quantities with units), [`config`] (TOML and overrides),
//! [`limits`] (closed forms).

pub mod config;
pub mod engine;
pub mod limits;
pub mod memory;
pub mod target;
pub mod unit;

pub use target::{Energy, Target};
