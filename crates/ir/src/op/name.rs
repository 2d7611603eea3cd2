//! Names of operators in the text form.

use super::{Activation, Binary, Op, Reduce, Unary};

macro_rules! names {
    ($set:ident { $($variant:ident = $name:literal,)+ }) => {
        impl $set {
            /// Every member, in order of declaration.
            pub const ALL: &'static [$set] = &[$($set::$variant),+];

            /// Name in the text form.
            pub const fn name(self) -> &'static str {
                match self {
                    $($set::$variant => $name,)+
                }
            }

            /// The member of a name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|member| member.name() == name)
            }
        }
    };
}

names!(Unary {
    Neg = "neg",
    Abs = "abs",
    Sqrt = "sqrt",
    Rsqrt = "rsqrt",
    Reciprocal = "reciprocal",
    Exp = "exp",
    Log = "log",
    Erf = "erf",
    Tanh = "tanh",
    Sigmoid = "sigmoid",
    Relu = "relu",
    GeluErf = "gelu_erf",
    GeluTanh = "gelu_tanh",
    Silu = "silu",
    Sin = "sin",
    Cos = "cos",
    Not = "not",
    IsNan = "is_nan",
    Floor = "floor",
    Ceil = "ceil",
    Round = "round",
});

names!(Binary {
    Add = "add",
    Sub = "sub",
    Mul = "mul",
    Div = "div",
    Mod = "mod",
    Pow = "pow",
    Min = "min",
    Max = "max",
    Equal = "equal",
    Less = "less",
    LessOrEqual = "less_or_equal",
    Greater = "greater",
    GreaterOrEqual = "greater_or_equal",
    And = "and",
    Or = "or",
    Xor = "xor",
});

names!(Reduce {
    Sum = "reduce_sum",
    Mean = "reduce_mean",
    Max = "reduce_max",
    Min = "reduce_min",
    Prod = "reduce_prod",
    LogSumExp = "reduce_log_sum_exp",
    SumSquare = "reduce_sum_square",
});

names!(Activation {
    Relu = "relu",
    GeluErf = "gelu_erf",
    GeluTanh = "gelu_tanh",
    Silu = "silu",
    Sigmoid = "sigmoid",
    Tanh = "tanh",
});

impl Op {
    /// Name in the text form.
    pub const fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "input",
            Op::Const(_) => "const",
            Op::Unary(f) => f.name(),
            Op::Binary(f) => f.name(),
            Op::Where => "where",
            Op::Cast { .. } => "cast",
            Op::Reshape { .. } => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Expand { .. } => "expand",
            Op::Concat { .. } => "concat",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::Gather { .. } => "gather",
            Op::GatherElements { .. } => "gather_elements",
            Op::ScatterElements { .. } => "scatter_elements",
            Op::ScatterNd => "scatter_nd",
            Op::TopK { .. } => "top_k",
            Op::ArgMax { .. } => "arg_max",
            Op::CumSum { .. } => "cum_sum",
            Op::Trilu { .. } => "trilu",
            Op::RandomNormal { .. } => "random_normal",
            Op::Reduce { kind, .. } => kind.name(),
            Op::Softmax { .. } => "softmax",
            Op::LayerNorm { .. } => "layer_norm",
            Op::RmsNorm { .. } => "rms_norm",
            Op::Matmul(_) => "matmul",
            Op::Attention(_) => "attention",
            Op::HashSort(_) => "hash_sort",
            Op::ChunkAttention(_) => "chunk_attention",
            Op::Embedding { .. } => "embedding",
            Op::Cache => "cache",
            Op::Rotary { .. } => "rotary",
            Op::Quantize { .. } => "quantize",
            Op::QuantizeParts { .. } => "quantize_parts",
            Op::Dequantize { .. } => "dequantize",
        }
    }
}
