//! What packets do to bytes.
//!
//! [`run`] executes an entry's packets in stream order and returns its outputs. Stream order
//! respects tokens: a waiter always comes after the packet that it waits for. Time plays no part.
//!
//! ```text
//!   constants ─┐                                   ┌─▶ outputs
//!   inputs ────┼─▶ DRAM regions ─ load ─▶ SRAM ─ store ─▶ state, spills
//!   state ─────┘     (borrowed)      matmul, vector
//! ```
//!
//! # What a command does
//!
//! A command reads all its operands before it writes any of its result. A result may take the
//! place of an operand of an element-wise or row-wise command (an identical view, or rows that
//! start where the operand's rows start and are no wider); every other overlap is refused, because
//! a machine that streams would read what it has just written. Zero rows or columns do nothing.
//!
//! All f32 arithmetic is that of `packwright-numerics`, in the order that `docs/numerics.md`
//! states, so results are the same for every number of threads. Beyond that page:
//!
//! - Integers (i32, i64) take part in arithmetic as f32, which is exact up to 2²⁴. A conversion
//!   (`unary` identity) between integer types stays in integers and saturates.
//! - An f32 result stored as an integer is truncated towards zero and saturates; NaN gives 0.
//! - An i8 operand or result without a scale has a scale of 1.
//! - The smaller and the larger of two numbers are NaN where either is NaN, and -0 is below +0.
//! - Registers, addresses, element types and groups that make no sense are errors, never panics.
//!
//! Read in this order: [`machine`] (the run), [`dram`] and `area` (memory), `frame` (what a command
//! sees), `rows` (the way of a row through the vector unit), then a file for each family of
//! commands.

pub mod dram;
pub mod error;
pub mod machine;

mod area;
mod frame;
mod overlap;
mod port;
mod registers;
mod rows;
mod scan;

mod gather;
mod indexed;
mod transfer;

mod kernel;
mod matmul;
mod simd;
mod tile;

mod binary;
mod copy;
mod elementwise;
mod lookup;
mod norm;
mod quantize;
mod reduce;
mod rotary;
mod scatter;
mod softmax;
mod sort;
mod unary;

#[cfg(test)]
mod tests;

use packwright_packet::program::{Entry, Program};
use packwright_target::Target;

pub use error::{Fault, FuncError};
pub use machine::{Machine, Output};

/// Runs `entry` once on a fresh machine and returns its outputs in the order of its ports.
///
/// `inputs` names each input port once, in any order; `registers` gives a value to each register
/// of the entry.
pub fn run(
    program: &Program,
    entry: &Entry,
    target: &Target,
    inputs: &[(&str, &[u8])],
    registers: &[u64],
) -> Result<Vec<Output>, FuncError> {
    Machine::new(program, target)?.run(entry, inputs, registers)
}
