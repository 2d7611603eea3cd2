//! The small language models, embedded.
//!
//! Each file is a real export whose weights are declared and left out, compressed. [`Zoo::get`] finds
//! a model by name, [`ModelFile::import`] makes its graph. Weights are absent or, from a seed,
//! synthetic: time and traffic are the same in either case.
//!
//! Read in this order: [`catalogue`], then its table.

pub mod catalogue;

mod table;

pub use catalogue::{
    CODES, Case, Fixed, Lengths, ModelFile, Phase, Slm, Zoo, ZooError, model_bytes,
};
