//! The table of what vector commands cost: one source for the simulator and for `docs/simulator.md`.
//!
//! A lane starts one f32 operation in a cycle. Elementary functions, roots and divisions go through a
//! pipeline of their own that a lane can use every fourth cycle, as in the special-function units of graphics
//! processors; compositions (GELU, SiLU) take one such turn and the operations around it. Conversions at the
//! ports are free.

use packwright_packet::operand::{BinaryFn, ReduceKind, UnaryFn};

/// Lane cycles of an elementary function, a root or a division.
pub const FUNCTION: u64 = 4;

/// Lanes that keep the partial results of a row, as `docs/numerics.md` orders sums.
const FOLDED: u64 = 16;

/// Lane cycles of joining the partial results of a row: a tree behind sixteen lanes takes them in one cycle, in which
/// these lanes start nothing else; its four steps are pipelined.
pub const REDUCTION: u64 = FOLDED;

/// Operations of joining them: 8, 4, 2 and 1.
pub const REDUCTION_OPERATIONS: u64 = FOLDED - 1;

/// What a command, or a part of it that may be asked for, costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Lane cycles an element.
    pub element: u64,
    /// Reductions a row; of `quantize`, a group.
    pub reductions: u64,
    /// Elementary functions a row; of `quantize`, a group.
    pub functions: u64,
}

impl Rate {
    /// With the cost of another part where it is asked for.
    pub fn with(self, asked: bool, other: Rate) -> Self {
        if !asked {
            return self;
        }
        Self {
            element: self.element + other.element,
            reductions: self.reductions + other.reductions,
            functions: self.functions + other.functions,
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The command in text form.
    pub command: &'static str,
    /// The operations that are counted, and when.
    pub what: &'static str,
    pub rate: Rate,
}

/// Declares each rate, and the table of all of them.
macro_rules! rates {
    ($($name:ident = $command:literal $what:literal $element:expr, $reductions:expr, $functions:expr;)*) => {
        $(
            #[doc = concat!("`", $command, "`: ", $what, ".")]
            pub const $name: Rate = Rate { element: $element, reductions: $reductions, functions: $functions };
        )*

        /// All rates, in the order of the commands.
        pub const TABLE: &[Row] = &[$(Row { command: $command, what: $what, rate: $name },)*];
    };
}

rates! {
    UNARY = "unary" "identity, relu, neg, abs, not" 1, 0, 0;
    UNARY_FUNCTION = "unary" "sqrt, reciprocal, rsqrt, exp, ln, erf, tanh, sigmoid, sin, cos" FUNCTION, 0, 0;
    UNARY_SILU = "unary" "silu: function, product" FUNCTION + 1, 0, 0;
    UNARY_GELU_ERF = "unary" "gelu_erf: scale, function, sum, product, half" FUNCTION + 4, 0, 0;
    UNARY_GELU_TANH = "unary" "gelu_tanh: cube (2), scale, sum, scale, function, sum, product, half" FUNCTION + 8, 0, 0;
    BINARY = "binary" "sums, products, comparisons, logic" 1, 0, 0;
    BINARY_DIV = "binary" "div" FUNCTION, 0, 0;
    BINARY_POW = "binary" "pow: logarithm, product, exponential" 2 * FUNCTION + 1, 0, 0;
    SELECT = "select" "choice" 1, 0, 0;
    FILL = "fill" "value" 1, 0, 0;
    NORM_LAYER = "norm" "layer: sum; difference, square, sum; product; root" 5, 2, 1;
    NORM_RMS = "norm" "rms: square, sum; product; root" 3, 1, 1;
    NORM_GAMMA = "norm" "with gamma" 1, 0, 0;
    NORM_BETA = "norm" "with beta" 1, 0, 0;
    SOFTMAX = "softmax" "maximum; difference, exponential, sum; reciprocal" FUNCTION + 3, 2, 1;
    SOFTMAX_SCALE = "softmax" "with a scale" 1, 0, 0;
    SOFTMAX_MASK = "softmax" "with a mask" 1, 0, 0;
    SOFTMAX_ROW_MASK = "softmax" "with a row mask" 1, 0, 0;
    SOFTMAX_COL_SCALE = "softmax" "with column scales" 1, 0, 0;
    SOFTMAX_FLOAT = "softmax" "to f16 or f32: product" 1, 0, 0;
    SOFTMAX_QUANTIZE = "softmax" "to i8: magnitude and maximum, product, conversion; reciprocal" 3, 1, 1;
    SOFTMAX_LOG_SUM = "softmax" "with the logarithm of the sum" 0, 0, 1;
    QUANTIZE_FOUND = "quantize" "scale found: magnitude and maximum, product, conversion; reciprocal" 3, 1, 1;
    QUANTIZE_GIVEN = "quantize" "scale given: product, conversion" 2, 0, 0;
    DEQUANTIZE = "dequantize" "product" 1, 0, 0;
    DEQUANTIZE_ADDEND = "dequantize" "with an addend" 1, 0, 0;
    ROTARY = "rotary" "two products and a sum" 3, 0, 0;
    REDUCE = "reduce" "sum, mean, max, min, argmax" 1, 1, 0;
    REDUCE_SQUARES = "reduce" "sum of squares" 2, 1, 0;
    COPY = "copy" "element" 1, 0, 0;
    LOOKUP = "lookup" "element" 1, 0, 0;
    SCATTER = "scatter" "element" 1, 0, 0;
    SORT_STEP = "sort" "each step of a bitonic network over n = the next power of two: log n · (log n + 1) / 2 steps" 1, 0, 0;
    SCAN = "scan" "four shifted sums within sixteen lanes, and what the lanes before them come to" 5, 0, 0;
}

/// The rate of a function of one element.
pub fn unary(f: UnaryFn) -> Rate {
    match f {
        UnaryFn::Identity | UnaryFn::Relu | UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Not => UNARY,
        UnaryFn::Sqrt
        | UnaryFn::Reciprocal
        | UnaryFn::Rsqrt
        | UnaryFn::Exp
        | UnaryFn::Ln
        | UnaryFn::Erf
        | UnaryFn::Tanh
        | UnaryFn::Sigmoid
        | UnaryFn::Sin
        | UnaryFn::Cos => UNARY_FUNCTION,
        UnaryFn::Silu => UNARY_SILU,
        UnaryFn::GeluErf => UNARY_GELU_ERF,
        UnaryFn::GeluTanh => UNARY_GELU_TANH,
    }
}

/// The rate of a function of two elements.
pub fn binary(f: BinaryFn) -> Rate {
    match f {
        BinaryFn::Div => BINARY_DIV,
        BinaryFn::Pow => BINARY_POW,
        BinaryFn::Add
        | BinaryFn::Sub
        | BinaryFn::Mul
        | BinaryFn::Min
        | BinaryFn::Max
        | BinaryFn::Equal
        | BinaryFn::Less
        | BinaryFn::LessOrEqual
        | BinaryFn::Greater
        | BinaryFn::GreaterOrEqual
        | BinaryFn::And
        | BinaryFn::Or => BINARY,
    }
}

/// The rate of a reduction.
pub fn reduce(kind: ReduceKind) -> Rate {
    match kind {
        ReduceKind::SumSquares => REDUCE_SQUARES,
        ReduceKind::Sum
        | ReduceKind::Mean
        | ReduceKind::Max
        | ReduceKind::Min
        | ReduceKind::ArgMax => REDUCE,
    }
}

/// The table in Markdown.
pub fn rates_md() -> String {
    let mut text = String::from(
        "| command | what is counted | lane cycles an element | reductions a row | functions a row |\n\
         |---|---|---:|---:|---:|\n",
    );
    for Row {
        command,
        what,
        rate,
    } in TABLE
    {
        let Rate {
            element,
            reductions,
            functions,
        } = rate;
        text += &format!("| `{command}` | {what} | {element} | {reductions} | {functions} |\n");
    }
    text + &format!(
        "\nA reduction takes {REDUCTION} lane cycles: a tree behind {FOLDED} lanes takes the {FOLDED} partial results of a \
         row in a cycle, in which these lanes start nothing else. A function takes {FUNCTION}. A command takes \
         `vector.startup_cycles` and the sum of its lane cycles over `vector.lanes`, rounded up. Rows of the same command \
         add up; a part counts where it is asked for; `quantize` has reductions and functions for each group instead of \
         each row.\n"
    )
}
