//! From a graph to a program: graph passes, plan, packets, bounds.
//!
//! ```text
//!  graph (f32) ─graph passes─▶ graph (fused, int8) ─plan─▶ plan ─emit─▶ program
//!                                        └────────── bound ──────────────▲
//! ```
//!
//! Read in this order: [`options`], [`pipeline`], [`pass`], [`graph`], [`plan`], [`bound`], [`emit`].

pub mod options;
pub mod pipeline;
pub mod pass;
pub mod graph;
pub mod plan;
pub mod bound;
pub mod emit;
pub mod compile;
