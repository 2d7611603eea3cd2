//! ONNX models become graphs.
//!
//! ```text
//! file ──load──▶ Model ──bind──▶ static shapes ──import──▶ packwright_ir::Graph
//!                  │                                ▲
//!                  └── weights (views, never copied)┘
//! ```
//!
//! [`Model::open`] decodes the file over a memory map, so that weights stay views of it. [`bind`]
//! gives every axis a length. [`import`] then walks the nodes once: all shapes are static, so
//! `Shape` is a constant, and what is computed from constants is computed at once; shape work leaves
//! no trace. Whatever cannot be imported is reported in one go, with node names.
//!
//! Read in this order: [`load`], [`functions`], [`axis`], [`bind`], [`external`], [`values`], [`weights`],
//! [`import`], [`builder`], [`registry`], [`op`], [`run_time`], [`layer`], [`codes`].

pub mod axis;
pub mod bind;
pub mod codes;
pub mod import;
pub mod load;
pub mod proto;
pub mod registry;
pub mod values;

mod attr;
mod builder;
mod external;
mod functions;
mod layer;
mod lazy;
mod map;
mod node;
mod op;
mod run_time;
mod weights;

pub use bind::{Binding, Given, Random};
pub use import::{ImportOptions, Imported, import};
pub use load::Model;
pub use map::let_go_of_pages;
