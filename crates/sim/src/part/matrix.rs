//! The matrix array: cycles and SRAM traffic of a product.

use packwright_packet::defs::Matmul;
use packwright_packet::operand::Hold;
use packwright_target::Target;
use packwright_target::engine::Dataflow;
use packwright_target::limits::matmul_cycles;

/// What a product costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub cycles: u64,
    pub macs: u64,
    /// Multiply-adds that the array could have done in the folds that were not full.
    pub padding_macs: u64,
    /// Bytes through the SRAM ports: the streamed operand once for each fold across, the held one once,
    /// partial sums and results once.
    pub sram_bytes: u64,
}

/// The cost of a product for given register contents. `moved` is what its operands and results hold.
pub fn cost(target: &Target, command: &Matmul, registers: &[u64], moved: u64) -> Cost {
    let (m, n, k) = (
        command.m.at(registers),
        command.n.at(registers),
        command.k.at(registers),
    );
    // The array computes the transposed product where it holds the left operand.
    let (m, n) = match command.hold {
        Hold::B => (m, n),
        Hold::A => (n, m),
    };
    let array = &target.matrix;
    // Bits of an element of what streams by, and of what is held.
    let (streamed_bits, held_bits) = match command.hold {
        Hold::B => (8, u64::from(command.b_bits)),
        Hold::A => (u64::from(command.b_bits), 8),
    };
    let passes = |extent: u64, lanes: u32| extent.div_ceil(u64::from(lanes)).saturating_sub(1);
    let streamed = m.saturating_mul(k);
    let across = passes(n, array.columns).saturating_mul(streamed * streamed_bits / 8);
    let again = match array.dataflow {
        // The streamed operand passes through the array once for each block of columns.
        Dataflow::WeightStationary => across,
        Dataflow::OutputStationary => {
            let held = n.saturating_mul(k) * held_bits / 8;
            across.saturating_add(passes(m, array.rows).saturating_mul(held))
        }
    };
    let whole = |extent: u64, lanes: u32| {
        let lanes = u64::from(lanes);
        extent.div_ceil(lanes).saturating_mul(lanes)
    };
    let macs = streamed.saturating_mul(n);
    let filled = match array.dataflow {
        Dataflow::WeightStationary => whole(k, array.rows).saturating_mul(m),
        Dataflow::OutputStationary => whole(m, array.rows).saturating_mul(k),
    };
    let slots = filled.saturating_mul(whole(n, array.columns));
    Cost {
        cycles: matmul_cycles(array, m, n, k),
        macs,
        padding_macs: slots.saturating_sub(macs),
        sram_bytes: moved.saturating_add(again),
    }
}
