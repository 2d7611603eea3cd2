//! The front end on small models made here and on real exports.

mod bindings;
mod damage;
mod exports;
mod external;
mod operators;
mod small;
mod weights;
