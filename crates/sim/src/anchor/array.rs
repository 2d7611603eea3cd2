//! Cycles of products on systolic arrays, against SCALE-Sim.

use packwright_target::engine::{Dataflow, Matrix};
use packwright_target::limits::matmul_cycles;

/// A product on an array.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchor {
    pub layer: String,
    pub m: u64,
    pub k: u64,
    pub n: u64,
    pub theirs: u64,
    /// The array in the configuration that was measured: weights are not loaded ahead.
    pub array: Matrix,
}

impl Anchor {
    /// The cycles that this simulator gives in the same configuration.
    pub fn ours(&self) -> u64 {
        matmul_cycles(&self.array, self.m, self.n, self.k)
    }

    /// The cycles where the weights of the next fold are loaded while the present fold streams.
    pub fn double_buffered(&self) -> u64 {
        let mut array = self.array.clone();
        array.double_buffered_weights = true;
        matmul_cycles(&array, self.m, self.n, self.k)
    }
}

/// Rows of SCALE-Sim 3.0.0 in which memory never stalls the array.
pub fn scale_sim() -> Vec<Anchor> {
    let rows = super::rows(include_str!("../../anchors/scale_sim.csv"));
    rows.filter(|row| row[7] == "CALC")
        .filter_map(|row| {
            let number = |place: usize| row[place].parse::<u64>().ok();
            let side = u32::try_from(number(5)?).ok()?;
            Some(Anchor {
                layer: format!("{} {}", row[0], row[1]),
                m: number(2)?,
                k: number(3)?,
                n: number(4)?,
                theirs: number(9)?,
                array: Matrix {
                    rows: side,
                    columns: side,
                    dataflow: match row[6] {
                        "ws" => Dataflow::WeightStationary,
                        _ => Dataflow::OutputStationary,
                    },
                    double_buffered_weights: false,
                    weight_rows_per_cycle: 1,
                    taps: 1,
                    startup_cycles: 0,
                },
            })
        })
        .collect()
}
