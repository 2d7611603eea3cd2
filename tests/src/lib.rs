//! What the tests share: cases as text files, models with reference results, and the whole way of an
//! embedded model.

pub mod case;
pub mod reference;
pub mod way;
