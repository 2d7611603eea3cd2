//! The table of operators.

mod microsoft;
mod page;

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::{Binary, Reduce, Unary};

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::load::Model;
use crate::node::Node;
use crate::op::{
    attention, constant, elementwise, index, layout, norm, product, quantized, random, reduce,
    rotary, sequence,
};
use crate::proto::NodeProto;

pub use page::supported_ops_md;

/// The domain of ONNX Runtime's own operators.
const MS: &str = "com.microsoft";

/// One operator.
pub(crate) struct Row {
    name: &'static str,
    domain: &'static str,
    /// First operator set that has it.
    since: i64,
    import: Import,
    /// What is not supported, in a line; empty where everything is.
    limits: &'static str,
    /// What it is in the graph, in the words of the text form, where the import does not say.
    becomes: &'static str,
}

/// How an operator is imported.
pub(crate) enum Import {
    /// A function of one element.
    Unary(Unary),
    /// A function of two elements.
    Binary(Binary),
    /// A function of two elements, over any number of operands.
    Fold(Binary),
    /// A reduction.
    Reduce(Reduce),
    /// Anything else.
    By(fn(&mut Builder, &Node<'_>) -> Result<Vec<Arg>, Diagnostic>),
    /// The nodes of one of two graphs, chosen by the walk.
    Branch,
    /// Known and not supported: the reason, and what to do.
    Refused(&'static str, &'static str),
}

impl Row {
    /// Says what the operator is in the graph.
    const fn to(mut self, becomes: &'static str) -> Self {
        self.becomes = becomes;
        self
    }

    /// Whether no use of the operator is supported.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.import, Import::Refused(..))
    }

    /// What it is in the graph.
    fn form(&self) -> &'static str {
        match &self.import {
            Import::Unary(f) => f.name(),
            Import::Binary(f) | Import::Fold(f) => f.name(),
            Import::Reduce(kind) => kind.name(),
            Import::By(_) | Import::Branch | Import::Refused(..) => self.becomes,
        }
    }

    /// Whether the walk itself imports the operator.
    pub(crate) fn is_branch(&self) -> bool {
        matches!(self.import, Import::Branch)
    }

    pub(crate) fn apply(&self, b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
        match &self.import {
            Import::Unary(f) => elementwise::unary(b, node, *f),
            Import::Binary(f) => elementwise::binary(b, node, *f),
            Import::Fold(f) => elementwise::fold(b, node, *f),
            Import::Reduce(kind) => reduce::reduce(b, node, *kind),
            Import::By(function) => function(b, node),
            Import::Branch => Err(codes::form("a branch is no function of its operands")),
            Import::Refused(reason, help) => Err(codes::op_unsupported(reason, help)),
        }
    }
}

const fn row(name: &'static str, since: i64, import: Import, limits: &'static str) -> Row {
    Row {
        name,
        domain: "",
        since,
        import,
        limits,
        becomes: "",
    }
}

use Import::{By, Fold, Refused};

const STATIC: &str = "shapes, axes and counts are known when the model is imported";
const INDEX: &str = "indices that are known only at run time are not negative";
const REWRITE: &str = "export the model without it";
const UNFUSED: &str =
    "export without the optimizer that inserts it: the unfused form is recognised";

/// The operators of ONNX that this crate knows, in alphabetical order.
static ROWS: &[Row] = &[
    row("Abs", 6, Import::Unary(Unary::Abs), ""),
    row("Add", 7, Import::Binary(Binary::Add), ""),
    row("And", 7, Import::Binary(Binary::And), ""),
    row(
        "ArgMax",
        1,
        By(index::arg_max),
        "the first of several largest",
    )
    .to("arg_max"),
    row(
        "ArgMin",
        1,
        By(index::arg_min),
        "the first of several smallest; not of unsigned numbers",
    )
    .to("neg, arg_max"),
    row(
        "Attention",
        23,
        By(attention::attention),
        "no result of scores; softcap as single steps",
    )
    .to("attention"),
    row(
        "AveragePool",
        1,
        Refused("pictures are not supported", REWRITE),
        "",
    ),
    row(
        "BatchNormalization",
        9,
        By(norm::batch_norm),
        "inference only",
    )
    .to("sub, mul, add"),
    row(
        "Bernoulli",
        1,
        Refused("random numbers are not supported", REWRITE),
        "",
    ),
    row("BitwiseAnd", 18, Import::Binary(Binary::And), "of bool"),
    row("BitwiseNot", 18, Import::Unary(Unary::Not), "of bool"),
    row("BitwiseOr", 18, Import::Binary(Binary::Or), "of bool"),
    row("BitwiseXor", 18, Import::Binary(Binary::Xor), "of bool"),
    row(
        "Cast",
        6,
        By(layout::cast),
        "to the element types of the graph",
    )
    .to("cast"),
    row("CastLike", 15, By(layout::cast_like), "").to("cast"),
    row("Ceil", 6, Import::Unary(Unary::Ceil), ""),
    row("Clip", 11, By(elementwise::clip), "").to("max, min"),
    row(
        "Compress",
        1,
        Refused("the number of results depends on values", REWRITE),
        "",
    ),
    row("Concat", 4, By(layout::concat), "").to("concat"),
    row("ConcatFromSequence", 11, By(sequence::concat), "").to("concat"),
    row(
        "Constant",
        1,
        By(constant::constant),
        "not text, not sparse",
    )
    .to("a constant"),
    row(
        "ConstantOfShape",
        9,
        By(constant::constant_of_shape),
        STATIC,
    )
    .to("a constant, expanded"),
    row(
        "Conv",
        1,
        Refused(
            "convolutions are not supported",
            "the compiler is for language models",
        ),
        "",
    ),
    row("Cos", 7, Import::Unary(Unary::Cos), ""),
    row("CumSum", 11, By(index::cum_sum), STATIC).to("cum_sum"),
    row(
        "DequantizeLinear",
        10,
        By(quantized::dequantize_linear),
        "one scale, or one for each index of an axis of weights; no blocks",
    )
    .to("dequantize; nothing where no product reads it"),
    row("Div", 7, Import::Binary(Binary::Div), ""),
    row("Dropout", 1, By(layout::dropout), "inference only; no mask").to("nothing"),
    row(
        "DynamicQuantizeLinear",
        11,
        By(quantized::dynamic_quantize),
        "scales are found on the machine, as for floats",
    )
    .to("nothing"),
    row(
        "Einsum",
        12,
        By(product::einsum),
        "one or two operands, no ellipsis, no repeated letter in an operand",
    )
    .to("transpose, matmul"),
    row("Equal", 7, Import::Binary(Binary::Equal), ""),
    row("Erf", 9, Import::Unary(Unary::Erf), ""),
    row("Exp", 6, Import::Unary(Unary::Exp), ""),
    row("Expand", 8, By(layout::expand), STATIC).to("expand"),
    row("EyeLike", 9, By(constant::eye_like), "").to("a constant"),
    row("Flatten", 1, By(layout::flatten), "").to("reshape"),
    row("Floor", 6, Import::Unary(Unary::Floor), ""),
    row("Gather", 1, By(index::gather), INDEX).to("gather; embedding of a table"),
    row("GatherElements", 11, By(index::gather_elements), INDEX).to("gather_elements"),
    row("GatherND", 11, By(index::gather_nd), "no batch axes").to("reshape, gather"),
    row("Gelu", 20, By(elementwise::gelu), "")
        .to("gelu_erf or gelu_tanh; an activation of a product"),
    row("Gemm", 7, By(product::gemm), "").to("matmul"),
    row("Greater", 7, Import::Binary(Binary::Greater), ""),
    row(
        "GreaterOrEqual",
        12,
        Import::Binary(Binary::GreaterOrEqual),
        "",
    ),
    row(
        "GroupNormalization",
        1,
        Refused("normalisation of pictures is not supported", REWRITE),
        "",
    ),
    row(
        "GRU",
        1,
        Refused("recurrent layers are not supported", REWRITE),
        "",
    ),
    row("HardSwish", 14, By(elementwise::hard_swish), "").to("add, max, min, mul"),
    row("Identity", 1, By(layout::identity), "").to("nothing"),
    row(
        "If",
        1,
        Import::Branch,
        "condition known when the model is imported; weights of branches inline",
    )
    .to("the nodes of one branch"),
    row(
        "InstanceNormalization",
        1,
        Refused("normalisation of pictures is not supported", REWRITE),
        "",
    ),
    row("IsInf", 10, By(elementwise::is_inf), "").to("abs, equal"),
    row("IsNaN", 9, Import::Unary(Unary::IsNan), ""),
    row(
        "LayerNormalization",
        // ONNX Runtime writes it in models of every operator set.
        1,
        By(norm::layer_norm),
        "first result only",
    )
    .to("layer_norm"),
    row("LeakyRelu", 6, By(elementwise::leaky_relu), "").to("mul, max"),
    row("Less", 7, Import::Binary(Binary::Less), ""),
    row("LessOrEqual", 12, Import::Binary(Binary::LessOrEqual), ""),
    row("Log", 6, Import::Unary(Unary::Log), ""),
    row("LogSoftmax", 1, By(norm::log_softmax), "").to("softmax, log"),
    row(
        "Loop",
        1,
        Refused(
            "control flow is not supported",
            "export with a fixed number of steps",
        ),
        "",
    ),
    row(
        "LSTM",
        1,
        Refused("recurrent layers are not supported", REWRITE),
        "",
    ),
    row(
        "MatMul",
        1,
        By(product::matmul),
        "of floating-point numbers",
    )
    .to("matmul with bias, activation, residual; attention"),
    row("MatMulInteger", 10, By(quantized::matmul_integer), "").to("matmul of stored integers"),
    row("Max", 6, Fold(Binary::Max), ""),
    row(
        "MaxPool",
        1,
        Refused("pictures are not supported", REWRITE),
        "",
    ),
    row("Mean", 6, By(elementwise::mean), "").to("add, div"),
    row("Min", 6, Fold(Binary::Min), ""),
    row(
        "Mod",
        10,
        By(elementwise::modulo),
        "fmod of numbers of different sign is not supported",
    )
    .to("mod"),
    row("Mul", 7, Import::Binary(Binary::Mul), ""),
    row(
        "Multinomial",
        1,
        Refused("random numbers are not supported", REWRITE),
        "",
    ),
    row("Neg", 6, Import::Unary(Unary::Neg), ""),
    row(
        "NonMaxSuppression",
        1,
        Refused("the number of results depends on values", REWRITE),
        "",
    ),
    row(
        "NonZero",
        9,
        By(constant::non_zero),
        "of values known when the model is imported",
    )
    .to("a constant"),
    row("Not", 1, Import::Unary(Unary::Not), ""),
    row("OneHot", 11, By(index::one_hot), STATIC).to("equal, where"),
    row("Or", 7, Import::Binary(Binary::Or), ""),
    row(
        "Pad",
        2,
        By(layout::pad),
        "constant mode; amounts known when the model is imported",
    )
    .to("slice, pad"),
    row("Pow", 7, By(elementwise::pow), "").to("pow"),
    row(
        "QuantizeLinear",
        10,
        By(quantized::quantize_linear),
        "one scale of 8 bits for a tensor; no blocks",
    )
    .to("quantize; nothing where no product reads it"),
    row(
        "QLinearMatMul",
        10,
        By(quantized::qlinear_matmul),
        "one scale for an activation",
    )
    .to("dequantize, matmul, quantize"),
    row("RandomNormal", 1, Refused("is not supported", REWRITE), ""),
    row(
        "RandomNormalLike",
        1,
        By(random::normal_like),
        "drawn from a seed, or refused (`--random`)",
    )
    .to("random_normal"),
    row("RandomUniform", 1, Refused("is not supported", REWRITE), ""),
    row(
        "RandomUniformLike",
        1,
        Refused("is not supported", REWRITE),
        "",
    ),
    row("Range", 11, By(constant::range), STATIC).to("a constant"),
    row("Reciprocal", 6, Import::Unary(Unary::Reciprocal), ""),
    row("ReduceL1", 1, By(reduce::l1), STATIC).to("abs, reduce_sum"),
    row("ReduceL2", 1, By(reduce::l2), STATIC).to("reduce_sum_square, sqrt"),
    row("ReduceLogSum", 1, By(reduce::log_sum), STATIC).to("reduce_sum, log"),
    row(
        "ReduceLogSumExp",
        1,
        Import::Reduce(Reduce::LogSumExp),
        STATIC,
    ),
    row("ReduceMax", 1, Import::Reduce(Reduce::Max), STATIC),
    row("ReduceMean", 1, Import::Reduce(Reduce::Mean), STATIC),
    row("ReduceMin", 1, Import::Reduce(Reduce::Min), STATIC),
    row("ReduceProd", 1, Import::Reduce(Reduce::Prod), STATIC),
    row("ReduceSum", 1, Import::Reduce(Reduce::Sum), STATIC),
    row(
        "ReduceSumSquare",
        1,
        Import::Reduce(Reduce::SumSquare),
        STATIC,
    ),
    row("Relu", 6, Import::Unary(Unary::Relu), ""),
    row("Reshape", 5, By(layout::reshape), STATIC).to("reshape"),
    row(
        "Resize",
        1,
        Refused("pictures are not supported", REWRITE),
        "",
    ),
    row("RMSNormalization", 23, By(norm::rms_norm), "").to("rms_norm"),
    row(
        "RNN",
        1,
        Refused("recurrent layers are not supported", REWRITE),
        "",
    ),
    row("RotaryEmbedding", 23, By(rotary::rotary), "").to("rotary"),
    row("Round", 11, Import::Unary(Unary::Round), ""),
    row(
        "Scan",
        1,
        Refused("control flow is not supported", REWRITE),
        "",
    ),
    row(
        "ScatterElements",
        11,
        By(index::scatter_elements),
        "no reduction; indices that are known only at run time are not negative",
    )
    .to("scatter_elements"),
    row(
        "ScatterND",
        11,
        By(index::scatter_nd),
        "no reduction; indices that are known only at run time are not negative",
    )
    .to("slice, concat where indices are known; scatter_nd"),
    row(
        "SequenceAt",
        11,
        By(sequence::at),
        "position known when the model is imported",
    )
    .to("nothing"),
    row("SequenceConstruct", 11, By(sequence::construct), "").to("nothing"),
    row("Shape", 1, By(constant::shape), "").to("a constant"),
    row("Sigmoid", 6, Import::Unary(Unary::Sigmoid), ""),
    row("Sign", 9, By(elementwise::sign), "").to("greater, less, cast, sub"),
    row(
        "SimplifiedLayerNormalization",
        1,
        By(norm::rms_norm),
        "first result only",
    )
    .to("rms_norm"),
    row("Sin", 7, Import::Unary(Unary::Sin), ""),
    row("Size", 1, By(constant::size), "").to("a constant"),
    row("Slice", 10, By(layout::slice), STATIC).to("slice"),
    row("Softmax", 1, By(norm::softmax), "").to("softmax; attention"),
    row("Softplus", 1, By(elementwise::softplus), "").to("max, abs, exp, log, add"),
    row("Split", 2, By(layout::split), STATIC).to("slice"),
    row("SplitToSequence", 11, By(sequence::split), STATIC).to("slice"),
    row("Sqrt", 6, Import::Unary(Unary::Sqrt), ""),
    row("Squeeze", 1, By(layout::squeeze), STATIC).to("reshape"),
    row(
        "StringNormalizer",
        1,
        Refused("text is not supported", REWRITE),
        "",
    ),
    row("Sub", 7, Import::Binary(Binary::Sub), ""),
    row("Sum", 6, Fold(Binary::Add), ""),
    row("Tanh", 6, Import::Unary(Unary::Tanh), ""),
    row("Tile", 6, By(layout::tile), STATIC).to("expand"),
    row(
        "TopK",
        10,
        By(index::top_k),
        "count known when the model is imported",
    )
    .to("top_k"),
    row("Transpose", 1, By(layout::transpose), "").to("transpose"),
    row(
        "Trilu",
        14,
        By(index::trilu),
        "diagonal known when the model is imported",
    )
    .to("trilu"),
    row(
        "Unique",
        1,
        Refused("the number of results depends on values", REWRITE),
        "",
    ),
    row("Unsqueeze", 1, By(layout::unsqueeze), STATIC).to("reshape"),
    row("Where", 9, By(elementwise::select), "").to("where"),
    row("Xor", 7, Import::Binary(Binary::Xor), ""),
];

/// Every operator.
fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(microsoft::ROWS)
}

/// The row of a node's operator, and the version of its operator set.
pub(crate) fn find(model: &Model, node: &NodeProto) -> Result<(&'static Row, i64), Diagnostic> {
    let domain = match node.domain() {
        "ai.onnx" => "",
        domain => domain,
    };
    let row = rows().find(|r| r.name == node.op_type() && r.domain == domain);
    let row = row.ok_or_else(|| codes::op_unknown(domain))?;
    let opset = model.opset(domain).unwrap_or(1);
    if opset < row.since {
        return Err(codes::op_version(opset, row.since));
    }
    Ok((row, opset))
}
