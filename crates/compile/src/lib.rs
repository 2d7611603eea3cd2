//! From a graph to a program: graph passes, plan, packets, bounds.
//!
//! ```text
//!  graph (f32) ─graph passes─▶ graph (fused, int8) ─plan─▶ plan ─emit─▶ program
//!                                        └────────── bound ──────────────▲
//! ```
//!
//! Read in this order: [`options`], [`pipeline`], [`pass`], [`graph`], [`plan`], [`bound`], [`attainable`],
//! [`emit`], [`compile`] (one graph), [`entries`] (several).

pub mod attainable;
pub mod bound;
pub mod compile;
pub mod emit;
pub mod entries;
pub mod graph;
pub mod options;
pub mod pass;
pub mod pipeline;
pub mod plan;
