//! From a graph to a program: graph passes, plan, packets, bounds.
//!
//! ```text
//!  graph (f32) ─graph passes─▶ graph (fused, int8) ─plan─▶ plan ─emit─▶ program
//!                                        └────────── bound ──────────────▲
//! ```
//!
//! Read in this order: [`options`], [`plan`], [`emit`], [`bound`].

pub mod options;
pub mod plan;
