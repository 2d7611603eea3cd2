//! The front end on small models made here and on real exports.
#![allow(clippy::unwrap_used)]

mod bindings;
mod damage;
mod exports;
mod external;
mod operators;
mod small;
mod weights;
