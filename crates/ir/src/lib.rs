//! The network in tensors.
//!
//! A [`Graph`] holds nodes ([`op::Op`]) over typed values; constants stand beside it and may have
//! no values at all. The graph knows no machine: one dump of its text form is valid for every
//! target. [`eval`] is the slow oracle that says what a graph means, in f32 and in int8.
//!
//! Read in this order: [`id`], [`ty`], [`tensor`], [`konst`], [`op`], [`graph`], [`order`],
//! [`infer`], [`work`], [`verify`], [`text`], [`eval`], [`diag`], [`codes`].

pub mod id;
pub mod ty;
pub mod tensor;
pub mod konst;
pub mod op;
pub mod graph;
pub mod order;
pub mod infer;
pub mod work;
pub mod verify;
pub mod text;
pub mod eval;
pub mod diag;
pub mod codes;

#[cfg(test)]
mod arbitrary;

pub use graph::Graph;
pub use id::{ConstId, NodeId, OriginId, Value};
pub use op::Op;
pub use ty::{Elem, Quant, Type};
