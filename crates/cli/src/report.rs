//! What simulations and estimates report.
//!
//! [`json`] holds the types with the names of the versioned schemas, [`build`] fills them from a
//! program and its simulation.

pub mod json;

pub mod build;
