//! Packwright compiles small language models for a packet NPU and says what they cost.
//!
//! This is the facade over all crates, and what the `packwright` command is made of: models come in
//! by path or by name ([`model`]), choices become options ([`options`]), [`job`] compiles and
//! simulates, [`report`] holds what comes out, [`errors`] what stood in the way.
//!
//! ```text
//!  path or zoo:NAME ─model─▶ graph ─job::compile─▶ program ─job::simulate─▶ report
//!                                └───────────── job::estimate ───────────────▲
//! ```
//!
//! ```no_run
//! use packwright::{job, model, options};
//!
//! let imported = model::import("zoo:MiniLM", &model::Binding::default())?;
//! let target = options::target("e2", &[])?;
//! let report = job::estimate(imported.graph, &target, &Default::default())?;
//! assert!(report.entries[0].seconds > 0.0);
//! # Ok::<(), packwright::errors::Failure>(())
//! ```
//!
//! Read in this order: [`model`], [`options`], [`recipe`], [`passes`], [`calibration`], [`evaluation`], [`job`],
//! [`report`], [`why`], [`trace`], [`html`], [`survey`], [`sweep`], [`generate`], [`cost`],
//! [`survey_generation`], [`inspect`], [`arrays`], [`constants`], [`feed`], [`samples`], [`file`], [`errors`], [`codes`].

pub mod model;
pub mod options;
pub mod passes;
pub mod recipe;

pub mod calibration;
pub mod evaluation;
pub mod html;
pub mod job;
pub mod report;
pub mod score;
pub mod survey;
pub mod sweep;
pub mod trace;
pub mod why;

pub mod cost;
pub mod generate;
pub mod survey_generation;
pub mod tokenizer;

pub mod inspect;

pub mod arrays;
pub mod constants;
pub mod feed;
pub mod samples;

pub mod file;

pub mod errors;

pub mod codes;

pub use packwright_compile as compile;
pub use packwright_ir as ir;
pub use packwright_numerics as numerics;
pub use packwright_onnx as onnx;
pub use packwright_packet as packet;
pub use packwright_sim as sim;
pub use packwright_target as target;
pub use packwright_zoo as zoo;
