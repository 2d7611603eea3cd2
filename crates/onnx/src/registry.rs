//! The table of operators.

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::{Binary, Reduce, Unary};

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::load::{Model, OPSETS};
use crate::node::Node;
use crate::op::{constant, elementwise, index, layout, norm, product, random, reduce, sequence};
use crate::proto::NodeProto;

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
    }
}

const fn microsoft(name: &'static str, import: Import, limits: &'static str) -> Row {
    Row {
        name,
        domain: MS,
        since: 1,
        import,
        limits,
    }
}

use Import::{By, Fold, Refused};

const STATIC: &str = "shapes, axes and counts are known when the model is imported";
const INDEX: &str = "indices that are known only at run time are not negative";
const REWRITE: &str = "export the model without it";
const UNFUSED: &str =
    "export without the optimizer that inserts it: the unfused form is recognised";

/// Every operator that this crate knows, in alphabetical order within a domain.
static ROWS: &[Row] = &[
    row("Abs", 6, Import::Unary(Unary::Abs), ""),
    row("Add", 7, Import::Binary(Binary::Add), ""),
    row("And", 7, Import::Binary(Binary::And), ""),
    row(
        "ArgMax",
        1,
        By(index::arg_max),
        "the first of several largest",
    ),
    row(
        "ArgMin",
        1,
        By(index::arg_min),
        "the first of several smallest; not of unsigned numbers",
    ),
    row(
        "Attention",
        23,
        Refused("the fused form is not supported", UNFUSED),
        "",
    ),
    row(
        "Cast",
        6,
        By(layout::cast),
        "to the element types of the graph",
    ),
    row("CastLike", 15, By(layout::cast_like), ""),
    row("Ceil", 6, Import::Unary(Unary::Ceil), ""),
    row("Clip", 11, By(elementwise::clip), ""),
    row("Concat", 4, By(layout::concat), ""),
    row("ConcatFromSequence", 11, By(sequence::concat), ""),
    row(
        "Constant",
        1,
        By(constant::constant),
        "not text, not sparse",
    ),
    row(
        "ConstantOfShape",
        9,
        By(constant::constant_of_shape),
        STATIC,
    ),
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
    row("CumSum", 11, By(index::cum_sum), STATIC),
    row("Div", 7, Import::Binary(Binary::Div), ""),
    row("Dropout", 1, By(layout::dropout), "inference only; no mask"),
    row(
        "Einsum",
        12,
        By(product::einsum),
        "one or two operands, no ellipsis, no repeated letter in an operand",
    ),
    row("Equal", 7, Import::Binary(Binary::Equal), ""),
    row("Erf", 9, Import::Unary(Unary::Erf), ""),
    row("Exp", 6, Import::Unary(Unary::Exp), ""),
    row("Expand", 8, By(layout::expand), STATIC),
    row("Flatten", 1, By(layout::flatten), ""),
    row("Floor", 6, Import::Unary(Unary::Floor), ""),
    row("Gather", 1, By(index::gather), INDEX),
    row("GatherElements", 11, By(index::gather_elements), INDEX),
    row(
        "GatherND",
        11,
        Refused("is not supported", "gather along one axis at a time"),
        "",
    ),
    row("Gelu", 20, By(elementwise::gelu), ""),
    row("Gemm", 7, By(product::gemm), ""),
    row("Greater", 7, Import::Binary(Binary::Greater), ""),
    row(
        "GreaterOrEqual",
        12,
        Import::Binary(Binary::GreaterOrEqual),
        "",
    ),
    row("Identity", 1, By(layout::identity), ""),
    row(
        "If",
        1,
        Import::Branch,
        "condition known when the model is imported; weights of branches inline",
    ),
    row("IsNaN", 9, Import::Unary(Unary::IsNan), ""),
    row(
        "LayerNormalization",
        17,
        By(norm::layer_norm),
        "over the last axis; first result only",
    ),
    row("Less", 7, Import::Binary(Binary::Less), ""),
    row("LessOrEqual", 12, Import::Binary(Binary::LessOrEqual), ""),
    row("Log", 6, Import::Unary(Unary::Log), ""),
    row("LogSoftmax", 1, By(norm::log_softmax), ""),
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
        "MatMul",
        1,
        By(product::matmul),
        "of floating-point numbers",
    ),
    row(
        "MatMulInteger",
        10,
        Refused(
            "dynamic quantisation in the model is not supported",
            "compile the float model: quantisation happens here",
        ),
        "",
    ),
    row("Max", 6, Fold(Binary::Max), ""),
    row("Mean", 6, By(elementwise::mean), ""),
    row("Min", 6, Fold(Binary::Min), ""),
    row(
        "Mod",
        10,
        By(elementwise::modulo),
        "fmod of numbers of different sign is not supported",
    ),
    row("Mul", 7, Import::Binary(Binary::Mul), ""),
    row("Neg", 6, Import::Unary(Unary::Neg), ""),
    row(
        "NonZero",
        9,
        By(constant::non_zero),
        "of values known when the model is imported",
    ),
    row("Not", 1, Import::Unary(Unary::Not), ""),
    row("Or", 7, Import::Binary(Binary::Or), ""),
    row(
        "Pad",
        2,
        By(layout::pad),
        "constant mode; amounts known when the model is imported",
    ),
    row("Pow", 7, By(elementwise::pow), ""),
    row(
        "QuantizeLinear",
        10,
        Refused(
            "models quantised before the export are not supported",
            "compile the float model: quantisation happens here",
        ),
        "",
    ),
    row(
        "DequantizeLinear",
        10,
        Refused(
            "models quantised before the export are not supported",
            "compile the float model: quantisation happens here",
        ),
        "",
    ),
    row(
        "DynamicQuantizeLinear",
        11,
        Refused(
            "dynamic quantisation in the model is not supported",
            "compile the float model: quantisation happens here",
        ),
        "",
    ),
    row(
        "RMSNormalization",
        23,
        By(norm::rms_norm),
        "over the last axis",
    ),
    row("RandomNormal", 1, Refused("is not supported", REWRITE), ""),
    row(
        "RandomNormalLike",
        1,
        By(random::normal_like),
        "drawn from a fixed seed",
    ),
    row("RandomUniform", 1, Refused("is not supported", REWRITE), ""),
    row(
        "RandomUniformLike",
        1,
        Refused("is not supported", REWRITE),
        "",
    ),
    row("Range", 11, By(constant::range), STATIC),
    row("Reciprocal", 6, Import::Unary(Unary::Reciprocal), ""),
    row("ReduceL1", 1, By(reduce::l1), STATIC),
    row("ReduceL2", 1, By(reduce::l2), STATIC),
    row("ReduceLogSum", 1, By(reduce::log_sum), STATIC),
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
    row("Reshape", 5, By(layout::reshape), STATIC),
    row(
        "RotaryEmbedding",
        23,
        Refused("the fused form is not supported", UNFUSED),
        "",
    ),
    row("Round", 11, Import::Unary(Unary::Round), ""),
    row(
        "ScatterElements",
        11,
        By(index::scatter_elements),
        "no reduction; indices that are known only at run time are not negative",
    ),
    row(
        "ScatterND",
        11,
        By(index::scatter_nd),
        "no reduction; indices that are known only at run time are not negative",
    ),
    row(
        "SequenceAt",
        11,
        By(sequence::at),
        "position known when the model is imported",
    ),
    row("SequenceConstruct", 11, By(sequence::construct), ""),
    row("Shape", 1, By(constant::shape), ""),
    row("Sigmoid", 6, Import::Unary(Unary::Sigmoid), ""),
    row(
        "SimplifiedLayerNormalization",
        1,
        By(norm::rms_norm),
        "over the last axis; first result only",
    ),
    row("Sin", 7, Import::Unary(Unary::Sin), ""),
    row("Size", 1, By(constant::size), ""),
    row("Slice", 10, By(layout::slice), STATIC),
    row("Softmax", 1, By(norm::softmax), ""),
    row("Split", 2, By(layout::split), STATIC),
    row("SplitToSequence", 11, By(sequence::split), STATIC),
    row("Sqrt", 6, Import::Unary(Unary::Sqrt), ""),
    row("Squeeze", 1, By(layout::squeeze), STATIC),
    row("Sub", 7, Import::Binary(Binary::Sub), ""),
    row("Sum", 6, Fold(Binary::Add), ""),
    row("Tanh", 6, Import::Unary(Unary::Tanh), ""),
    row("Tile", 6, By(layout::tile), STATIC),
    row(
        "TopK",
        10,
        By(index::top_k),
        "count known when the model is imported",
    ),
    row("Transpose", 1, By(layout::transpose), ""),
    row(
        "Trilu",
        14,
        By(index::trilu),
        "diagonal known when the model is imported",
    ),
    row("Unsqueeze", 1, By(layout::unsqueeze), STATIC),
    row("Where", 9, By(elementwise::select), ""),
    row("Xor", 7, Import::Binary(Binary::Xor), ""),
    microsoft(
        "Attention",
        Refused("the fused form is not supported", UNFUSED),
        "",
    ),
    microsoft("BiasGelu", By(elementwise::bias_gelu), ""),
    microsoft(
        "EmbedLayerNormalization",
        Refused("the fused form is not supported", UNFUSED),
        "",
    ),
    microsoft("FastGelu", By(elementwise::fast_gelu), ""),
    microsoft(
        "FusedMatMul",
        By(product::fused_matmul),
        "no batch transposes",
    ),
    microsoft("Gelu", By(elementwise::gelu), ""),
    microsoft(
        "GroupQueryAttention",
        Refused("the fused form is not supported", UNFUSED),
        "",
    ),
    microsoft(
        "MatMulNBits",
        Refused(
            "weights in blocks of a few bits are not supported",
            "compile the float model: quantisation happens here",
        ),
        "",
    ),
    microsoft(
        "MultiHeadAttention",
        Refused("the fused form is not supported", UNFUSED),
        "",
    ),
    microsoft("QuickGelu", By(elementwise::quick_gelu), ""),
    microsoft(
        "RotaryEmbedding",
        Refused("the fused form is not supported", UNFUSED),
        "",
    ),
    microsoft(
        "SimplifiedLayerNormalization",
        By(norm::rms_norm),
        "over the last axis; first result only",
    ),
    microsoft(
        "SkipLayerNormalization",
        By(norm::skip_layer_norm),
        "no mean, no deviation as results",
    ),
    microsoft(
        "SkipSimplifiedLayerNormalization",
        By(norm::skip_rms_norm),
        "no deviation as result",
    ),
];

/// The row of a node's operator, and the version of its operator set.
pub(crate) fn find(model: &Model, node: &NodeProto) -> Result<(&'static Row, i64), Diagnostic> {
    let domain = match node.domain() {
        "ai.onnx" => "",
        domain => domain,
    };
    let row = ROWS
        .iter()
        .find(|r| r.name == node.op_type() && r.domain == domain);
    let row = row.ok_or_else(|| codes::op_unknown(domain))?;
    let opset = model.opset(domain).unwrap_or(1);
    if opset < row.since {
        return Err(codes::op_version(opset, row.since));
    }
    Ok((row, opset))
}

/// The page `docs/supported-ops.md`.
pub fn supported_ops_md() -> String {
    let mut page = format!(
        "# Supported operators\n\nGenerated from `crates/onnx/src/registry.rs`. \
         Operator sets {} to {} of ONNX. All shapes are static: axes are bound when a model is compiled.\n",
        OPSETS.start(),
        OPSETS.end()
    );
    for (domain, title) in [("", "ai.onnx"), (MS, MS)] {
        page += &format!("\n## {title}\n\n| operator | since | limits |\n|---|---|---|\n");
        for row in sorted(domain, false) {
            page += &format!("| {} | {} | {} |\n", row.name, row.since, row.limits);
        }
        page += "\nKnown and not supported:\n\n| operator | reason | instead |\n|---|---|---|\n";
        for row in sorted(domain, true) {
            if let Refused(reason, help) = &row.import {
                page += &format!("| {} | {reason} | {help} |\n", row.name);
            }
        }
    }
    page
}

fn sorted(domain: &str, refused: bool) -> Vec<&'static Row> {
    let wanted = |r: &&Row| r.domain == domain && matches!(r.import, Refused(..)) == refused;
    let mut rows: Vec<&Row> = ROWS.iter().filter(wanted).collect();
    rows.sort_unstable_by_key(|r| r.name);
    rows
}
