//! What the tests share: cases as text files, and the whole way of an embedded model.

pub mod case;
pub mod roles;
pub mod way;
