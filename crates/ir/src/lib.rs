//! The network in tensors.
//!
//! A [`Graph`] holds nodes ([`op::Op`]) over typed values; constants stand beside it and may have
//! no values at all. The graph knows no machine: one dump of its text form is valid for every
//! target. [`eval`] is the slow oracle that says what a graph means, in f32 and in int8.
//!
//! Read in this order: [`id`], [`ty`], [`tensor`], [`konst`], [`op`], [`graph`], [`order`],
//! [`infer`], [`work`], [`verify`], [`text`], [`eval`], [`diag`], [`codes`].

pub mod codes;
pub mod diag;
pub mod eval;
pub mod graph;
pub mod id;
pub mod infer;
pub mod konst;
pub mod op;
pub mod order;
pub mod tensor;
pub mod text;
pub mod ty;
pub mod verify;
pub mod work;

#[cfg(test)]
mod arbitrary;

pub use graph::Graph;
pub use id::{ConstId, NodeId, OriginId, Value};
pub use op::Op;
pub use ty::{Elem, Quant, Type};
