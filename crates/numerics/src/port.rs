//! What crosses the memory ports: rows of the storage types, read as f32 and written from f32.

use half::f16;

use crate::half_float::{narrow_f16_row, widen_f16_row};
use crate::quant::{dequantize_row, quantize_row};
use crate::round::canonical;

/// A row as it lies in memory, on its way in.
#[derive(Clone, Copy, Debug)]
pub enum InputRow<'a> {
    /// Taken as it is.
    F32(&'a [f32]),
    /// Widened exactly.
    F16(&'a [f16]),
    /// Multiplied with the scale.
    I8 {
        /// The stored values.
        q: &'a [i8],
        /// What one step is worth.
        step: f32,
    },
    /// Rounded to the nearest f32, ties to even; exact up to 2²⁴.
    I32(&'a [i32]),
    /// Rounded to the nearest f32, ties to even; exact up to 2²⁴.
    I64(&'a [i64]),
}

/// Room for a row as it will lie in memory, on its way out.
#[derive(Debug)]
pub enum OutputRow<'a> {
    /// Kept, but for NaN, which becomes the canonical one.
    F32(&'a mut [f32]),
    /// Rounded once to half precision.
    F16(&'a mut [f16]),
    /// Quantised with a static scale.
    I8 {
        /// The stored values.
        q: &'a mut [i8],
        /// What a value is multiplied with: `Scale::inverse`.
        inverse: f32,
    },
}

/// Reads a row into f32.
pub fn load_row(input: InputRow<'_>, row: &mut [f32]) {
    match input {
        InputRow::F32(x) => row.copy_from_slice(x),
        InputRow::F16(x) => widen_f16_row(x, row),
        InputRow::I8 { q, step } => dequantize_row(q, step, row),
        InputRow::I32(x) => {
            assert_eq!(x.len(), row.len(), "one element for each integer");
            for (y, &x) in row.iter_mut().zip(x) {
                *y = x as f32;
            }
        }
        InputRow::I64(x) => {
            assert_eq!(x.len(), row.len(), "one element for each integer");
            for (y, &x) in row.iter_mut().zip(x) {
                *y = x as f32;
            }
        }
    }
}

/// Rounds a row of f32 to the type of `output`.
pub fn store_row(row: &[f32], output: OutputRow<'_>) {
    match output {
        OutputRow::F32(out) => {
            assert_eq!(row.len(), out.len(), "one element for each element");
            for (y, &x) in out.iter_mut().zip(row) {
                *y = canonical(x);
            }
        }
        OutputRow::F16(out) => narrow_f16_row(row, out),
        OutputRow::I8 { q, inverse } => quantize_row(row, inverse, q),
    }
}
