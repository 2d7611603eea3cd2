//! Every complaint of the front end: how it is made and what it means.

use std::io;
use std::ops::RangeInclusive;

use packwright_ir::Type;
use packwright_ir::diag::{CodeDoc, Diagnostic};

use crate::axis::Axis;

macro_rules! doc {
    ($code:literal, $title:literal, $text:literal) => {
        CodeDoc {
            code: $code,
            title: $title,
            text: $text,
        }
    };
}

/// What `explain` says about the codes of this crate.
pub const CODES: &[CodeDoc] = &[
    doc!(
        "onnx-unreadable",
        "A file cannot be read.",
        "The operating system refused to open or map the file; the message says why."
    ),
    doc!(
        "onnx-empty",
        "The file is empty.",
        "A model file holds at least a few hundred bytes. An interrupted download or a failed export leaves an empty one: fetch or export it again."
    ),
    doc!(
        "onnx-truncated",
        "The file ends early.",
        "The file begins like an ONNX model, but a field says that it is longer than the file. The copy or download was cut off: fetch it again."
    ),
    doc!(
        "onnx-not-onnx",
        "The file is not an ONNX model.",
        "The first bytes are not those of an ONNX model. Common reasons: a Git LFS pointer instead of the file itself, a web page saved under the model's name, PyTorch or safetensors weights, an ORT-format file."
    ),
    doc!(
        "onnx-damaged",
        "The file is damaged.",
        "Its outermost fields are in order, but one of them does not decode."
    ),
    doc!(
        "onnx-no-graph",
        "The model has no graph.",
        "The file decodes as an ONNX model and contains no network."
    ),
    doc!(
        "onnx-ir-version",
        "The file format version is not supported.",
        "The file was written by a version of ONNX that this version does not know."
    ),
    doc!(
        "onnx-opset",
        "The operator set version is not supported.",
        "Operator sets 11 to 23 are supported. Export with `opset_version=17` or convert with `onnx.version_converter`."
    ),
    doc!(
        "onnx-sparse",
        "The model has sparse initializers.",
        "Weights in sparse form are not supported; store them dense."
    ),
    doc!(
        "onnx-element-type",
        "An element type is not supported.",
        "Tensors may hold bool, int8, uint8, int32, int64, float16, float32 or float64. Convert other types before the export."
    ),
    doc!(
        "onnx-shape",
        "A shape is not valid.",
        "A stored tensor or an input declares a negative length, or more elements than any machine holds."
    ),
    doc!(
        "onnx-tensor-size",
        "A stored tensor has the wrong number of bytes.",
        "The bytes stored for a tensor do not match its type and shape. The file is damaged or was edited."
    ),
    doc!(
        "onnx-attribute",
        "An attribute has the wrong type.",
        "The operator defines this attribute with another type."
    ),
    doc!(
        "onnx-operand-missing",
        "An operand is missing.",
        "The operator needs an operand that the node does not name."
    ),
    doc!(
        "onnx-undefined-value",
        "A node reads a value that nothing has made.",
        "Nodes must stand after those whose results they read. The file breaks this rule or misses a node."
    ),
    doc!(
        "onnx-duplicate-value",
        "Two nodes make a value of the same name.",
        "Each value of a model has one origin."
    ),
    doc!(
        "onnx-op-unknown",
        "An operator is not known.",
        "This version has no rule for the operator. `docs/supported-ops.md` lists what it knows. Operators of custom domains must be replaced by standard ones before the export."
    ),
    doc!(
        "onnx-op-unsupported",
        "An operator is known and not supported.",
        "The message says why and what to use instead."
    ),
    doc!(
        "onnx-op-version",
        "An operator is newer or older than supported.",
        "The operator exists in this operator set in a form that this version has no rule for."
    ),
    doc!(
        "onnx-op-form",
        "An operator is used in a form that is not supported.",
        "The operator is supported, this use of it is not: an attribute, a number of operands or a shape. The message says which."
    ),
    doc!(
        "onnx-data-dependent-shape",
        "A shape depends on values that are known only at run time.",
        "All shapes are fixed when a model is compiled. Bind axes, or fix an input to constant values, so that what decides the shape is known: `--const global_attention_mask=first`, say, or `--const NAME=FILE.npz`. Nodes that wait for the same inputs are one complaint, which names them all."
    ),
    doc!(
        "onnx-fold",
        "Constant values cannot be computed.",
        "An operator over constants has no result, for instance an index outside its tensor. The model would fail at run time."
    ),
    doc!(
        "onnx-random",
        "An operator draws random numbers.",
        "The numbers come from a seed, so that every compilation gives the same program; results differ from a run that draws new ones. `--random N` draws from another seed, `--random refuse` refuses the model."
    ),
    doc!(
        "onnx-random-refused",
        "An operator draws random numbers, and that is refused.",
        "The command was told `--random refuse`. Export the model with its random numbers as constants, or let them be drawn from a seed with `--random N`."
    ),
    doc!(
        "onnx-requantized",
        "Stored integers are rounded again.",
        "Weights of products keep their integers, scales and zero points. A table that is read by row has a scale a row and no zero point: integers with a zero point become floats, and those are quantised here. So are weights that the model rounds itself when it runs. Quantise tables symmetrically (int8, or uint8 with the zero point 128), and store weights as integers, to keep the model's own."
    ),
    doc!(
        "onnx-whole-cache",
        "The cache is taken to be full.",
        "The operator is told at run time how many positions of each sequence count. The compiled program counts all of the past and all new positions, which is what a single sequence without padding does."
    ),
    doc!(
        "onnx-too-large",
        "A value has more elements than any machine holds.",
        "A shape in the model, or the lengths that axes are bound to, make a value of more than 2^38 elements."
    ),
    doc!(
        "onnx-function",
        "A function of the model cannot be put in place.",
        "Functions that the model defines are replaced by their nodes. They may not call themselves, and they have to use the operator sets of the model."
    ),
    doc!(
        "onnx-fill-rule",
        "A rule for synthetic weights is not understood.",
        "The metadata entry `weights.fill` holds a rule for each initializer whose values are left out."
    ),
    doc!(
        "onnx-fixed-input",
        "An input is fixed to values that do not fit.",
        "The name is no input of the model, or the values have another shape or element type."
    ),
    doc!(
        "external-entry",
        "An entry of external data is not valid.",
        "External data needs a location; offset and length are numbers in decimal."
    ),
    doc!(
        "external-outside",
        "External data lies outside the model's folder.",
        "A model may only read files in its own folder or below it: no absolute paths, no `..`, no links that lead out."
    ),
    doc!(
        "external-short",
        "A data file is too short.",
        "The file exists and ends before the weights that it should hold. Fetch it again. (A file that does not exist is no error: the weights are absent then.)"
    ),
    doc!(
        "axis-unbound",
        "Axes have no length.",
        "Every named axis needs a length: `--seq`, `--past`, `--batch`, or `--bind name=length`."
    ),
    doc!(
        "axis-unknown",
        "There is no such axis.",
        "The model has no axis of that name or role; the message lists those it has."
    ),
    doc!(
        "axis-zero",
        "An axis cannot have length 0.",
        "Lengths begin at 1."
    ),
    doc!(
        "axis-conflict",
        "An axis has two lengths.",
        "Two options, or an option and the model, disagree about a length. A model exported with fixed shapes runs with those only."
    ),
    doc!(
        "axis-unsolved",
        "The length of an axis cannot be computed.",
        "The model gives the length as an expression, and its value is no length."
    ),
    doc!(
        "input-without-shape",
        "An input has no shape.",
        "The model does not say how many axes the input has. Export it with shapes."
    ),
];

pub(crate) fn unreadable(place: &str, error: &io::Error) -> Diagnostic {
    Diagnostic::error("onnx-unreadable", format!("cannot read: {error}")).at(place)
}

pub(crate) fn empty() -> Diagnostic {
    Diagnostic::error("onnx-empty", "the file is empty").help("fetch or export the model again")
}

pub(crate) fn truncated(bytes: usize) -> Diagnostic {
    Diagnostic::error(
        "onnx-truncated",
        format!("the file ends early, after {bytes} bytes"),
    )
    .help("the copy or download was cut off: fetch it again")
}

pub(crate) fn not_onnx(bytes: &[u8]) -> Diagnostic {
    let help = if bytes.starts_with(b"version https://git-lfs") {
        "this is a Git LFS pointer: run `git lfs pull` to get the file itself"
    } else if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80") {
        "this looks like PyTorch weights: export the model with torch.onnx.export"
    } else if bytes.starts_with(b"<") {
        "this looks like a web page: download the raw file"
    } else if bytes.get(4..8) == Some(b"ORTM") {
        "this is an ORT-format model: use the .onnx file that it was made from"
    } else {
        "pass a file that torch.onnx.export or another exporter wrote"
    };
    Diagnostic::error("onnx-not-onnx", "the file is not an ONNX model").help(help)
}

pub(crate) fn damaged(reason: &str) -> Diagnostic {
    Diagnostic::error("onnx-damaged", format!("the file is damaged: {reason}"))
}

pub(crate) fn no_graph() -> Diagnostic {
    Diagnostic::error("onnx-no-graph", "the model has no graph")
}

pub(crate) fn ir_version(found: i64, range: &RangeInclusive<i64>) -> Diagnostic {
    Diagnostic::unsupported(
        "onnx-ir-version",
        format!(
            "format version {found} is not supported, only {} to {}",
            range.start(),
            range.end()
        ),
    )
}

pub(crate) fn opset(found: i64, range: &RangeInclusive<i64>) -> Diagnostic {
    Diagnostic::unsupported(
        "onnx-opset",
        format!(
            "operator set {found} is not supported, only {} to {}",
            range.start(),
            range.end()
        ),
    )
    .help("export again with opset_version=17, or use onnx.version_converter")
}

pub(crate) fn no_opset() -> Diagnostic {
    Diagnostic::error(
        "onnx-opset",
        "the model does not say which operator set it uses",
    )
}

pub(crate) fn sparse(count: usize) -> Diagnostic {
    Diagnostic::unsupported("onnx-sparse", format!("{count} weights are stored sparse"))
        .help("store them dense")
}

pub(crate) fn element_type(what: &str, name: &str) -> Diagnostic {
    Diagnostic::unsupported(
        "onnx-element-type",
        format!("{what:?} has elements of type {name}"),
    )
    .help("supported are bool, int8, uint8, int32, int64, float16, float32 and float64")
}

pub(crate) fn shape(what: &str, dims: &[i64]) -> Diagnostic {
    Diagnostic::error(
        "onnx-shape",
        format!("{what:?} has the impossible shape {dims:?}"),
    )
}

pub(crate) fn tensor_size(what: &str, ty: &Type, found: usize) -> Diagnostic {
    Diagnostic::error(
        "onnx-tensor-size",
        format!(
            "{what:?} is {ty}, {} bytes, and {found} bytes are stored",
            ty.bytes()
        ),
    )
}

pub(crate) fn attribute(name: &str, problem: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::error("onnx-attribute", format!("attribute {name:?} {problem}"))
}

pub(crate) fn operand_missing(at: usize) -> Diagnostic {
    Diagnostic::error("onnx-operand-missing", format!("operand {at} is missing"))
}

pub(crate) fn undefined_value(name: &str) -> Diagnostic {
    Diagnostic::error(
        "onnx-undefined-value",
        format!("nothing before makes the value {name:?}"),
    )
}

pub(crate) fn duplicate_value(name: &str) -> Diagnostic {
    Diagnostic::error(
        "onnx-duplicate-value",
        format!("the value {name:?} is made twice"),
    )
}

pub(crate) fn op_unknown(domain: &str) -> Diagnostic {
    let from = if domain.is_empty() {
        String::new()
    } else {
        format!(" from the domain {domain:?}")
    };
    Diagnostic::unsupported(
        "onnx-op-unknown",
        format!("there is no such operator{from}"),
    )
    .help("replace it by operators listed in docs/supported-ops.md")
}

pub(crate) fn op_unsupported(reason: &str, help: &str) -> Diagnostic {
    Diagnostic::unsupported("onnx-op-unsupported", reason).help(help)
}

pub(crate) fn op_version(found: i64, since: i64) -> Diagnostic {
    Diagnostic::unsupported(
        "onnx-op-version",
        format!("operator set {found} does not have it, {since} does"),
    )
}

pub(crate) fn form(problem: impl Into<String>) -> Diagnostic {
    Diagnostic::unsupported("onnx-op-form", problem)
}

pub(crate) fn data_dependent(what: &str) -> Diagnostic {
    Diagnostic::unsupported(
        "onnx-data-dependent-shape",
        format!("{what} depends on values that are known only at run time"),
    )
    .help("bind the axes, or make the input that it depends on a constant: --const NAME=VALUE")
}

/// One complaint for several nodes, the first of which has the place and the message already: what they
/// say depends on the values of the same inputs.
pub(crate) fn waits(first: Diagnostic, others: &[String], inputs: &[&str]) -> Diagnostic {
    let (what, _) = first
        .message
        .split_once(" depends on ")
        .unwrap_or((&first.message, ""));
    let mut message = format!("{what} depends on the values of {}", listed(inputs));
    if !others.is_empty() {
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        message.push_str(&format!("; so does that of {}", listed(&others)));
    }
    let constants: Vec<String> = inputs
        .iter()
        .map(|name| format!("--const {name}={}", usual_value(name)))
        .collect();
    let help = format!(
        "give them as constants: {} (or a number, ones, zeros, first, or the .npz file that holds the values)",
        constants.join(" ")
    );
    Diagnostic { message, ..first }.help(help)
}

/// What an input that has to be a constant usually holds.
fn usual_value(input: &str) -> &'static str {
    match (input.contains("global"), input.contains("mask")) {
        (true, _) => "first",
        (false, true) => "ones",
        (false, false) => "FILE.npz",
    }
}

/// Names in a sentence.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

pub(crate) fn branch(flag: &str) -> Diagnostic {
    Diagnostic::unsupported(
        "onnx-data-dependent-shape",
        "which branch is taken depends on values that are known only at run time",
    )
    .help(format!(
        "where {flag:?} is an input, make it a constant: --const {flag}=true"
    ))
}

pub(crate) fn axis_range(axis: i64, rank: usize) -> Diagnostic {
    Diagnostic::error(
        "onnx-shape",
        format!("there is no axis {axis} among {rank}"),
    )
}

pub(crate) fn fold(reason: &str) -> Diagnostic {
    Diagnostic::error("onnx-fold", format!("the constant has no value: {reason}"))
}

pub(crate) fn random(seed: u64) -> Diagnostic {
    Diagnostic::warning(
        "onnx-random",
        format!("random numbers are drawn from the seed {seed}"),
    )
    .help("choose another with --random N, or refuse such models with --random refuse")
}

pub(crate) fn random_refused() -> Diagnostic {
    Diagnostic::error("onnx-random-refused", "random numbers are refused")
        .help("export with the numbers as constants, or draw them from a seed: --random N")
}

pub(crate) fn requantized(why: &str) -> Diagnostic {
    Diagnostic::warning(
        "onnx-requantized",
        format!("stored integers are rounded again: {why}"),
    )
    .help("quantise symmetrically, and store integers, to keep the model's own")
}

pub(crate) fn whole_cache() -> Diagnostic {
    Diagnostic::warning(
        "onnx-whole-cache",
        "every position of the past and every new one is taken to count",
    )
}

pub(crate) fn too_large(ty: &Type) -> Diagnostic {
    Diagnostic::unsupported("onnx-too-large", format!("{ty} is too large"))
        .help("bind the axes to smaller lengths")
}

pub(crate) fn function(name: &str, problem: &str) -> Diagnostic {
    Diagnostic::unsupported("onnx-function", format!("the function {name:?} {problem}"))
        .help("export with the functions inlined")
}

pub(crate) fn fill_rule(name: &str) -> Diagnostic {
    Diagnostic::error(
        "onnx-fill-rule",
        format!("the rule for {name:?} is not understood"),
    )
}

pub(crate) fn fixed_input(name: &str, problem: &str) -> Diagnostic {
    Diagnostic::error("onnx-fixed-input", format!("{name:?} {problem}"))
}

pub(crate) fn external_entry(what: &str, problem: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::error(
        "external-entry",
        format!("external data of {what:?}: {problem}"),
    )
}

pub(crate) fn external_outside(what: &str, location: &str) -> Diagnostic {
    Diagnostic::error(
        "external-outside",
        format!("{what:?} lies in {location:?}, outside the model's folder"),
    )
    .help("put the data file beside the model")
}

pub(crate) fn external_short(what: &str, location: &str, end: usize, found: usize) -> Diagnostic {
    Diagnostic::error(
        "external-short",
        format!("{what:?} ends at byte {end} of {location:?}, which has {found}"),
    )
    .help("the data file was cut off or belongs to another model")
}

pub(crate) fn axis_unbound(open: &[&Axis]) -> Diagnostic {
    let list: Vec<String> = open.iter().map(|a| describe(a)).collect();
    Diagnostic::error(
        "axis-unbound",
        format!("axes without a length: {}", list.join("; ")),
    )
    .help("give lengths by role (--seq, --past) or by name (--bind name=length)")
}

pub(crate) fn axis_unknown(name: &str, axes: &[Axis]) -> Diagnostic {
    Diagnostic::error(
        "axis-unknown",
        format!("there is no axis {name:?}: {}", valid(axes)),
    )
}

/// The axes that can be bound.
fn valid(axes: &[Axis]) -> String {
    match axes {
        [] => "all axes of the model are fixed".to_owned(),
        _ => {
            let list: Vec<String> = axes.iter().map(describe).collect();
            format!("the model has {}", list.join("; "))
        }
    }
}

fn describe(axis: &Axis) -> String {
    let mut inputs: Vec<&str> = axis
        .places
        .iter()
        .map(|(input, _)| input.as_str())
        .collect();
    inputs.dedup();
    let more = inputs.len().saturating_sub(4);
    inputs.truncate(4);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("`{}` (in {}{rest})", axis.name, inputs.join(", "))
}

pub(crate) fn axis_zero(name: &str, axes: &[Axis]) -> Diagnostic {
    Diagnostic::error("axis-zero", format!("{name:?} cannot be 0"))
        .help(format!("lengths begin at 1; {}", valid(axes)))
}

pub(crate) fn axis_conflict(
    name: &str,
    one: u64,
    option: &str,
    two: u64,
    axes: &[Axis],
) -> Diagnostic {
    Diagnostic::error(
        "axis-conflict",
        format!("`{name}` is bound to {one} by name and to {two} by {option:?}"),
    )
    .help(format!("bind it once; {}", valid(axes)))
}

pub(crate) fn axis_fixed(
    option: &str,
    wanted: u64,
    place: &str,
    fixed: u64,
    axes: &[Axis],
) -> Diagnostic {
    Diagnostic::error(
        "axis-conflict",
        format!("{option:?} is {wanted}, and the model fixes {place} to {fixed}"),
    )
    .help(format!(
        "export the model with dynamic axes to run it with other lengths; {}",
        valid(axes)
    ))
}

pub(crate) fn axis_unsolved(input: &str, text: &str) -> Diagnostic {
    Diagnostic::error(
        "axis-unsolved",
        format!("{text:?} in {input:?} is no length"),
    )
}

pub(crate) fn input_without_shape(input: &str) -> Diagnostic {
    Diagnostic::error(
        "input-without-shape",
        format!("the input {input:?} has no shape"),
    )
}
