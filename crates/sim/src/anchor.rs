//! Figures of other simulators, and the same runs in this one: what `docs/validation.md` shows.
//!
//! The figures stand in `crates/sim/anchors`, with their origin. [`memory`] replays access patterns,
//! [`array`] compares the cycles of products.

pub mod array;
pub mod memory;

/// The rows of a table in CSV form: comments and the header are left out.
fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.skip(1).map(|line| line.split(',').collect())
}

/// Mean and worst of some errors, by magnitude.
pub fn mean_and_worst(errors: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut sum, mut worst, mut count) = (0.0, 0.0f64, 0.0);
    for error in errors {
        sum += error.abs();
        worst = worst.max(error.abs());
        count += 1.0;
    }
    (if count > 0.0 { sum / count } else { 0.0 }, worst)
}
