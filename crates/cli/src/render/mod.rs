//! What people see: tables that fit the terminal, numbers in human units, drawn complaints.
//!
//! [`unit`] spells numbers, [`table`] lays out tables, [`report`], [`slms`], [`compare`] and [`inspect`] fill
//! them, [`problem`] draws errors.

pub mod unit;

pub mod table;

pub mod compare;
pub mod generation;
pub mod inspect;
pub mod report;
pub mod slms;

pub mod problem;
