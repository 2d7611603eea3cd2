//! The matrix array: cycles of a product, and how often its operands pass the SRAM ports.
//!
//! A group of the contraction that has a scale of its own ends with a sum that is scaled and added. Where weights
//! are held, a fold holds whole groups in the rows of the array, and their sums leave each column through its taps, so
//! many in a cycle: with more groups than taps, a streamed row takes as many cycles as it takes to get them out. Where
//! outputs are held, each group takes a step more.

use packwright_packet::defs::Matmul;
use packwright_packet::operand::{Affine, Hold, View};
use packwright_target::Target;
use packwright_target::engine::{Dataflow, Matrix};
use packwright_target::limits::matmul_cycles;

/// What a product costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub cycles: u64,
    pub macs: u64,
    /// Multiply-adds that the array could have done in the folds that were not full.
    pub padding_macs: u64,
}

/// Extents of a product as the array sees it: it computes the transposed product where it holds the left operand.
fn extents(command: &Matmul, registers: &[u64]) -> (u64, u64, u64) {
    let [m, n, k] = [command.m, command.n, command.k].map(|extent| extent.at(registers));
    match command.hold {
        Hold::B => (m, n, k),
        Hold::A => (n, m, k),
    }
}

/// The cost of a product for given register contents.
pub fn cost(target: &Target, command: &Matmul, registers: &[u64]) -> Cost {
    let (m, n, k) = extents(command, registers);
    let array = &target.matrix;
    let whole = |extent: u64, lanes: u32| {
        let lanes = u64::from(lanes);
        extent.div_ceil(lanes).saturating_mul(lanes)
    };
    let macs = m.saturating_mul(k).saturating_mul(n);
    let filled = match array.dataflow {
        Dataflow::WeightStationary => whole(k, array.rows).saturating_mul(m),
        Dataflow::OutputStationary => whole(m, array.rows).saturating_mul(k),
    };
    let slots = filled.saturating_mul(whole(n, array.columns));
    // A sum ends where a scale of either operand does.
    let shared = |scales: &Option<View>, group: Affine| match scales {
        Some(_) => group.at(registers).clamp(1, k.max(1)),
        None => k,
    };
    let group =
        shared(&command.a_scale, command.group).min(shared(&command.b_step, command.b_group));
    Cost {
        cycles: grouped_cycles(array, (m, n, k), group),
        macs,
        padding_macs: slots.saturating_sub(macs),
    }
}

/// Cycles of a product m × k by k × n whose contraction has a scale for each `group` elements.
pub fn grouped_cycles(array: &Matrix, (m, n, k): (u64, u64, u64), group: u64) -> u64 {
    // Groups of whole folds end where folds end.
    if group >= k || group.is_multiple_of(u64::from(array.rows)) {
        return matmul_cycles(array, m, n, k);
    }
    match array.dataflow {
        Dataflow::WeightStationary => {
            // A fold holds whole groups: as many as have taps, or as many as fit.
            let rows = u64::from(array.rows);
            let fitting = (rows / group).max(1);
            let taps = u64::from(array.taps).max(1);
            let cycles = |groups: u64| {
                let folds = k.div_ceil((groups * group).min(rows));
                let turns = groups.div_ceil(taps);
                matmul_cycles(
                    array,
                    m.saturating_mul(turns),
                    n,
                    folds.saturating_mul(rows),
                )
            };
            cycles(fitting).min(cycles(taps.min(fitting)))
        }
        Dataflow::OutputStationary => matmul_cycles(array, m, n, k + k.div_ceil(group)),
    }
}

/// How often each byte of the left and of the right operand passes the SRAM ports: the streamed one once for each
/// fold across the array, the held one once.
pub fn repeats(target: &Target, command: &Matmul, registers: &[u64]) -> [u64; 2] {
    let (m, n, _) = extents(command, registers);
    let array = &target.matrix;
    let folds = |extent: u64, lanes: u32| extent.div_ceil(u64::from(lanes)).max(1);
    let streamed = folds(n, array.columns);
    let held = match array.dataflow {
        Dataflow::WeightStationary => 1,
        Dataflow::OutputStationary => folds(m, array.rows),
    };
    match command.hold {
        Hold::B => [streamed, held],
        Hold::A => [held, streamed],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array that is 64 rows high.
    fn array(preset: &str, settings: &[&str]) -> Matrix {
        let mut target = Target::preset(preset).expect("is a preset");
        for setting in settings {
            target.set(setting).expect("is a field");
        }
        target.matrix
    }

    #[test]
    fn groups_as_high_as_the_array_cost_nothing() {
        let e2 = array("e2", &[]);
        let whole = matmul_cycles(&e2, 128, 256, 512);
        for group in [64, 128, 512] {
            assert_eq!(grouped_cycles(&e2, (128, 256, 512), group), whole);
        }
    }

    #[test]
    fn shorter_groups_take_the_cycles_that_their_sums_need_to_leave() {
        let e2 = array("e2", &[]);
        for (group, turns) in [(32, 2), (16, 4)] {
            let cycles = grouped_cycles(&e2, (128, 256, 512), group);
            assert_eq!(cycles, matmul_cycles(&e2, turns * 128, 256, 512));
        }
        // One group of 52 in each fold of 64 rows: six folds instead of five.
        let cycles = grouped_cycles(&e2, (128, 256, 312), 52);
        assert_eq!(cycles, matmul_cycles(&e2, 128, 256, 6 * 64));
        // A contraction of 48 fills three quarters of the rows: three groups.
        let cycles = grouped_cycles(&e2, (128, 256, 48), 16);
        assert_eq!(cycles, matmul_cycles(&e2, 3 * 128, 256, 48));
    }

    #[test]
    fn taps_let_more_sums_out() {
        let (one, two) = (array("e6", &["matrix.taps=1"]), array("e6", &[]));
        let product = (128, 256, 512);
        assert_eq!(
            grouped_cycles(&two, product, 64),
            matmul_cycles(&two, 128, 256, 512)
        );
        assert_eq!(
            grouped_cycles(&one, product, 64),
            matmul_cycles(&one, 256, 256, 512)
        );
    }

    #[test]
    fn held_outputs_take_a_step_a_group() {
        let mut held = array("e2", &[]);
        held.dataflow = Dataflow::OutputStationary;
        let cycles = grouped_cycles(&held, (128, 256, 512), 32);
        assert_eq!(cycles, matmul_cycles(&held, 128, 256, 512 + 16));
    }
}
