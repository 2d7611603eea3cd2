//! The vector unit: cycles of a command by the table of [`rates`].

use packwright_packet::defs::Command;
use packwright_packet::operand::NormKind;
use packwright_target::Target;

use crate::part::rates::{self, FUNCTION, REDUCTION, REDUCTION_OPERATIONS, Rate};

/// What a vector command costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub cycles: u64,
    /// f32 operations of all lanes.
    pub operations: u64,
}

/// The cost of a vector command for given register contents.
pub fn cost(target: &Target, command: &Command, registers: &[u64]) -> Cost {
    let Work {
        elements,
        rows,
        rate,
    } = work(command, registers);
    let spread = |each: u64, reduction: u64| {
        let of_rows = rate.reductions * reduction + rate.functions * FUNCTION;
        let of_elements = elements.saturating_mul(each);
        of_elements.saturating_add(rows.saturating_mul(of_rows))
    };
    let lanes = u64::from(target.vector.lanes);
    let lane_cycles = spread(rate.element, REDUCTION);
    Cost {
        cycles: u64::from(target.vector.startup_cycles) + lane_cycles.div_ceil(lanes),
        operations: spread(rate.element, REDUCTION_OPERATIONS),
    }
}

/// What a command is charged for.
struct Work {
    elements: u64,
    /// Rows, or groups of rows, that are reduced.
    rows: u64,
    rate: Rate,
}

/// Steps of a bitonic network that sorts a row of `n` elements; in each, every element meets another.
fn network_steps(n: u64) -> u64 {
    let levels = u64::from(n.next_power_of_two().trailing_zeros());
    levels * (levels + 1) / 2
}

fn work(command: &Command, registers: &[u64]) -> Work {
    macro_rules! sized {
        ($c:expr, $rate:expr) => {{
            let rows = $c.rows.at(registers);
            let elements = rows.saturating_mul($c.cols.at(registers));
            Work {
                elements,
                rows,
                rate: $rate,
            }
        }};
    }
    match command {
        Command::Unary(c) => sized!(c, rates::unary(c.func)),
        Command::Binary(c) => sized!(c, rates::binary(c.func)),
        Command::Select(c) => sized!(c, rates::SELECT),
        Command::Fill(c) => sized!(c, rates::FILL),
        Command::Norm(c) => {
            let rate = match c.kind {
                NormKind::Layer => rates::NORM_LAYER,
                NormKind::Rms => rates::NORM_RMS,
            };
            let rate = rate.with(c.gamma.is_some(), rates::NORM_GAMMA);
            sized!(c, rate.with(c.beta.is_some(), rates::NORM_BETA))
        }
        Command::Softmax(c) => {
            let rate = rates::SOFTMAX
                .with(c.scale != 1.0, rates::SOFTMAX_SCALE)
                .with(c.mask.is_some(), rates::SOFTMAX_MASK)
                .with(c.row_mask.is_some(), rates::SOFTMAX_ROW_MASK)
                .with(c.col_scale.is_some(), rates::SOFTMAX_COL_SCALE)
                .with(c.dst_scale.is_none(), rates::SOFTMAX_FLOAT)
                .with(c.dst_scale.is_some(), rates::SOFTMAX_QUANTIZE)
                .with(c.log_sum.is_some(), rates::SOFTMAX_LOG_SUM);
            sized!(c, rate)
        }
        Command::Quantize(c) if c.dst_scale.is_some() => {
            let group = c.group.at(registers).max(1);
            let work = sized!(c, rates::QUANTIZE_FOUND);
            let groups = c.cols.at(registers).div_ceil(group);
            Work {
                rows: work.rows.saturating_mul(groups),
                ..work
            }
        }
        Command::Quantize(c) => sized!(c, rates::QUANTIZE_GIVEN),
        Command::Dequantize(c) => {
            let rate = rates::DEQUANTIZE;
            sized!(c, rate.with(c.addend.is_some(), rates::DEQUANTIZE_ADDEND))
        }
        Command::Rotary(c) => sized!(c, rates::ROTARY),
        Command::Reduce(c) => sized!(c, rates::reduce(c.kind)),
        Command::Scan(c) => sized!(c, rates::SCAN),
        Command::Copy(c) => sized!(c, rates::COPY),
        Command::Lookup(c) => sized!(c, rates::LOOKUP),
        Command::Scatter(c) => sized!(c, rates::SCATTER),
        Command::Sort(c) => {
            let (rows, cols) = (c.rows.at(registers), c.cols.at(registers).max(1));
            let met = cols.next_power_of_two().saturating_mul(network_steps(cols));
            Work {
                elements: rows.saturating_mul(met),
                rows,
                rate: rates::SORT_STEP,
            }
        }
        Command::Load(_) | Command::Store(_) | Command::Gather(_) | Command::Matmul(_) => Work {
            elements: 0,
            rows: 0,
            rate: Rate::default(),
        },
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
