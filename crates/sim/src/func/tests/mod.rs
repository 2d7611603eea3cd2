//! Each command against a naive re-implementation: element by element, straight from the table.

mod attention;
mod checked;
mod elements;
mod errors;
mod normalise;
mod places;
mod product;
mod runs;
mod scratch;
mod transfers;
