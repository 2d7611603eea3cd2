//! Simulator: what packets do to bytes ([`func`]) and what they cost ([`simulate`], `part`).
//!
//! It sees what silicon would see: a stream of packets and a target. `docs/simulator.md` describes
//! the model of time and where its formulas come from.
//!
//! Read in this order: [`simulate`], [`report`], [`part`], then [`func`].

pub mod anchor;
pub mod error;
pub mod func;
pub mod observe;
pub mod occupancy;
pub mod part;
pub mod path;
pub mod report;
pub mod simulate;

mod engine;
mod tally;

pub use error::SimError;
pub use report::Report;
pub use simulate::{Options, simulate, simulate_observed};
