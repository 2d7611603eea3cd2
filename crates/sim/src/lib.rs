//! Simulator: what packets do to bytes and what they cost.

pub mod func;
