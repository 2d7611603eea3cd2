//! The parts of the machine and what they take: closed forms and small state machines.

mod divisor;
pub mod dram;
pub mod matrix;
pub mod rates;
pub mod runs;
pub mod sram;
pub mod vector;
