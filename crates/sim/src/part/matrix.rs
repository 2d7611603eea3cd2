//! The matrix array: cycles and SRAM traffic of a product.

use packwright_packet::defs::Matmul;
use packwright_target::Target;
use packwright_target::engine::Dataflow;
use packwright_target::limits::matmul_cycles;

/// What a product costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub cycles: u64,
    pub macs: u64,
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
    let array = &target.matrix;
    let again = match array.dataflow {
        // The left operand passes through the array once for each block of columns.
        Dataflow::WeightStationary => {
            n.div_ceil(u64::from(array.columns)).saturating_sub(1) * m * k
        }
        Dataflow::OutputStationary => {
            let across = n.div_ceil(u64::from(array.columns)).saturating_sub(1) * m * k;
            let down = m.div_ceil(u64::from(array.rows)).saturating_sub(1) * n * k;
            across + down
        }
    };
    Cost {
        cycles: matmul_cycles(array, m, n, k),
        macs: m * n * k,
        sram_bytes: moved + again,
    }
}
