//! The vector unit: lane cycles an element.
//!
//! A lane starts one f32 operation in a cycle. Elementary functions, roots and divisions go through a
//! pipeline of their own that a lane can use every fourth cycle; compositions (GELU, SiLU) take one
//! such turn and the operations around it. Conversions at the ports are free.

use packwright_packet::defs::Command;
use packwright_packet::operand::UnaryFn;
use packwright_target::Target;

/// What a vector command costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub cycles: u64,
    /// f32 operations of all lanes.
    pub operations: u64,
}

/// The cost of a vector command for given register contents.
pub fn cost(target: &Target, command: &Command, registers: &[u64]) -> Cost {
    let (rows, cols, per_element) = work(command, registers);
    let operations = rows * cols * per_element;
    let lanes = u64::from(target.vector.lanes);
    let cycles = u64::from(target.vector.startup_cycles) + operations.div_ceil(lanes);
    Cost { cycles, operations }
}

/// Steps of a bitonic network that sorts a row of `n` elements; in each, every element meets another.
fn network_steps(n: u64) -> u64 {
    let levels = u64::from(n.next_power_of_two().trailing_zeros());
    levels * (levels + 1) / 2
}

/// Operations of quantising one element with a scale that is found first: maximum of magnitudes,
/// product, conversion with saturation.
const QUANTIZE: u64 = 3;

/// Rows, elements of a row, operations an element.
fn work(command: &Command, registers: &[u64]) -> (u64, u64, u64) {
    macro_rules! sized {
        ($c:expr, $operations:expr) => {
            ($c.rows.at(registers), $c.cols.at(registers), $operations)
        };
    }
    match command {
        Command::Unary(c) => sized!(c, function(c.func)),
        Command::Binary(c) => sized!(c, 1),
        Command::Select(c) => sized!(c, 1),
        Command::Fill(c) => sized!(c, 1),
        // Sum; difference, square, sum; product; gain, shift.
        Command::Norm(c) => {
            sized!(
                c,
                5 + u64::from(c.gamma.is_some()) + u64::from(c.beta.is_some())
            )
        }
        // Maximum; difference, exponential, sum; product; and what is asked for beside it.
        Command::Softmax(c) => sized!(
            c,
            4 + function(UnaryFn::Exp)
                + u64::from(c.scale != 1.0)
                + u64::from(c.mask.is_some())
                + u64::from(c.row_mask.is_some())
                + u64::from(c.col_scale.is_some())
                + if c.dst_scale.is_some() { QUANTIZE } else { 0 }
        ),
        Command::Quantize(c) => {
            sized!(
                c,
                if c.dst_scale.is_some() {
                    QUANTIZE
                } else {
                    QUANTIZE - 1
                }
            )
        }
        Command::Dequantize(c) => sized!(c, 1 + u64::from(c.addend.is_some())),
        // Two products and a sum for each element of a pair.
        Command::Rotary(c) => sized!(c, 3),
        Command::Reduce(c) => sized!(
            c,
            1 + u64::from(c.kind == packwright_packet::operand::ReduceKind::SumSquares)
        ),
        // Four shifted sums within sixteen lanes, and what the lanes before them come to.
        Command::Scan(c) => sized!(c, 5),
        Command::Copy(c) => sized!(c, 1),
        Command::Lookup(c) => sized!(c, 1),
        Command::Scatter(c) => sized!(c, 1),
        // A step compares the keys of each pair and moves keys with their indices.
        Command::Sort(c) => {
            let cols = c.cols.at(registers);
            let network = cols.max(1).next_power_of_two();
            (c.rows.at(registers), network, network_steps(cols.max(1)))
        }
        Command::Load(_) | Command::Store(_) | Command::Gather(_) | Command::Matmul(_) => (0, 0, 0),
    }
}

/// Cycles between two turns of a lane in the pipeline of functions.
const FUNCTION: u64 = 4;

/// Lane cycles of a function of one element.
pub fn function(f: UnaryFn) -> u64 {
    match f {
        UnaryFn::Identity | UnaryFn::Relu | UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Not => 1,
        UnaryFn::Sqrt
        | UnaryFn::Reciprocal
        | UnaryFn::Rsqrt
        | UnaryFn::Exp
        | UnaryFn::Ln
        | UnaryFn::Erf
        | UnaryFn::Tanh
        | UnaryFn::Sigmoid
        | UnaryFn::Sin
        | UnaryFn::Cos => FUNCTION,
        UnaryFn::Silu => FUNCTION + 1,
        // Scale, function, sum, product, half.
        UnaryFn::GeluErf => FUNCTION + 4,
        // Cube, scale, sum, scale, function, sum, product, half.
        UnaryFn::GeluTanh => FUNCTION + 8,
    }
}

#[cfg(test)]
mod tests {
    use super::network_steps;

    #[test]
    fn a_network_of_n_elements_has_half_of_log_times_log_plus_one_steps() {
        let steps = [1, 2, 3, 4, 512, 513].map(network_steps);
        assert_eq!(steps, [0, 1, 3, 3, 45, 55]);
    }
}
