//! The command as its users meet it: arguments, exit codes, files, text.

mod command;
mod models;
mod programs;

mod bad_input;
mod calibration;
mod help;
mod inspect;
mod reports;
mod round_trip;
mod running;
mod traces;
