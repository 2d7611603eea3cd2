//! Tests of the crate as its users see it: round trips, hostile bytes, the check, the page.

mod bytes;
mod check;
mod container;
mod strategy;
mod text;
