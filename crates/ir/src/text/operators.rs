//! Operators in the text form: attributes of an operator, and the operator of attributes.
//!
//! The two functions mirror each other; what [`attributes`] leaves out, [`operator`] fills in.

use super::attributes::Attributes;
use super::lexer::Problem;
use crate::op::{Attention, Binary, ChunkAttention, HashSort, Matmul, Op, Reduce, Unary};
use crate::ty::{Elem, Quant, Type};

/// The attributes of an operator as they are printed. Types and operands tell some of them.
pub(super) fn attributes(op: &Op, types: &[Type], operands: usize) -> Vec<String> {
    let shape_told = |shape: &[usize]| types.first().is_some_and(|ty| ty.shape == shape);
    match op {
        Op::Input { name } => vec![format!("{name:?}")],
        Op::Const(_) | Op::Unary(_) | Op::Binary(_) | Op::Where | Op::ScatterNd | Op::Cache => {
            vec![]
        }
        Op::Cast { to } | Op::Dequantize { to } => vec![format!("to={to}")],
        Op::Reshape { shape } | Op::Expand { shape } if shape_told(shape) => vec![],
        Op::Reshape { shape } | Op::Expand { shape } => vec![list("shape", shape)],
        Op::Transpose { perm } => vec![list("perm", perm)],
        Op::Concat { axis }
        | Op::Gather { axis }
        | Op::GatherElements { axis }
        | Op::ScatterElements { axis }
        | Op::CumSum { axis }
        | Op::Softmax { axis } => vec![format!("axis={axis}")],
        Op::Slice { start, count, step } => {
            let steps = (step.iter().any(|&s| s != 1) || step.len() != start.len())
                .then(|| list("step", step));
            let mut attributes = vec![list("start", start), list("count", count)];
            attributes.extend(steps);
            attributes
        }
        Op::Pad {
            before,
            after,
            value,
        } => {
            vec![
                list("before", before),
                list("after", after),
                format!("value={value:?}"),
            ]
        }
        Op::TopK {
            axis,
            count,
            largest,
        } => with_flags(
            vec![format!("axis={axis}"), format!("count={count}")],
            [("largest", largest)],
        ),
        Op::ArgMax { axis, keep } => with_flags(vec![format!("axis={axis}")], [("keep", keep)]),
        Op::Trilu { upper, k } => {
            let mut attributes = with_flags(vec![], [("upper", upper)]);
            attributes.push(format!("k={k}"));
            attributes
        }
        Op::RandomNormal { seed } => vec![format!("seed={seed}")],
        Op::Reduce {
            kind: _,
            axes,
            keep,
        } => with_flags(vec![list("axes", axes)], [("keep", keep)]),
        Op::LayerNorm { eps, affine } | Op::RmsNorm { eps, affine } => {
            with_flags(vec![format!("eps={eps:?}")], [("affine", affine)])
        }
        Op::Matmul(attrs) => matmul_attributes(attrs),
        Op::Attention(attrs) => attention_attributes(attrs),
        Op::HashSort(attrs) => vec![
            format!("heads={}", attrs.heads),
            format!("rounds={}", attrs.rounds),
            list("factors", &attrs.factors),
        ],
        Op::ChunkAttention(attrs) => chunk_attributes(attrs),
        Op::Embedding { tables } if operands == tables.saturating_mul(2) => vec![],
        Op::Embedding { tables } => vec![format!("tables={tables}")],
        Op::Rotary { heads, interleaved } => with_flags(
            vec![format!("heads={heads}")],
            [("interleaved", interleaved)],
        ),
        Op::Quantize { quant } => vec![match quant {
            Quant::Tensor { scale } => format!("scale({scale:?})"),
            Quant::Affine { scale, zero } => format!("affine({scale:?}, {zero})"),
            Quant::Row { group } => format!("row({group})"),
            Quant::Channel { axis } => format!("channel({axis})"),
            Quant::Shifted { axis } => format!("shifted({axis})"),
            Quant::Block { axis, group } => format!("block({axis}, {group})"),
        }],
        Op::QuantizeParts { group, scale } => std::iter::once(format!("group={group}"))
            .chain(scale.map(|scale| format!("step={scale:?}")))
            .collect(),
    }
}

/// The operator of a name and its attributes; `types` are those of the results.
pub(super) fn operator(
    name: &str,
    column: usize,
    attrs: &mut Attributes,
    types: &[Type],
    operands: usize,
) -> Result<Op, Problem> {
    if let Some(f) = Unary::from_name(name) {
        return Ok(Op::Unary(f));
    }
    if let Some(f) = Binary::from_name(name) {
        return Ok(Op::Binary(f));
    }
    if let Some(kind) = Reduce::from_name(name) {
        return Ok(Op::Reduce {
            kind,
            axes: attrs.list("axes")?,
            keep: attrs.flag("keep")?,
        });
    }
    Ok(match name {
        "where" => Op::Where,
        "cast" => Op::Cast {
            to: attrs.need("to")?,
        },
        "reshape" => Op::Reshape {
            shape: shape(attrs, types)?,
        },
        "transpose" => Op::Transpose {
            perm: attrs.list("perm")?,
        },
        "expand" => Op::Expand {
            shape: shape(attrs, types)?,
        },
        "concat" => Op::Concat {
            axis: attrs.need("axis")?,
        },
        "slice" => slice(attrs)?,
        "pad" => Op::Pad {
            before: attrs.list("before")?,
            after: attrs.list("after")?,
            value: attrs.need("value")?,
        },
        "gather" => Op::Gather {
            axis: attrs.need("axis")?,
        },
        "gather_elements" => Op::GatherElements {
            axis: attrs.need("axis")?,
        },
        "scatter_elements" => Op::ScatterElements {
            axis: attrs.need("axis")?,
        },
        "scatter_nd" => Op::ScatterNd,
        "top_k" => Op::TopK {
            axis: attrs.need("axis")?,
            count: attrs.need("count")?,
            largest: attrs.flag("largest")?,
        },
        "arg_max" => Op::ArgMax {
            axis: attrs.need("axis")?,
            keep: attrs.flag("keep")?,
        },
        "cum_sum" => Op::CumSum {
            axis: attrs.need("axis")?,
        },
        "trilu" => Op::Trilu {
            upper: attrs.flag("upper")?,
            k: attrs.take("k")?.unwrap_or(0),
        },
        "random_normal" => Op::RandomNormal {
            seed: attrs.need("seed")?,
        },
        "softmax" => Op::Softmax {
            axis: attrs.need("axis")?,
        },
        "layer_norm" => Op::LayerNorm {
            eps: attrs.need("eps")?,
            affine: attrs.flag("affine")?,
        },
        "rms_norm" => Op::RmsNorm {
            eps: attrs.need("eps")?,
            affine: attrs.flag("affine")?,
        },
        "matmul" => Op::Matmul(matmul(attrs)?),
        "attention" => Op::Attention(attention(attrs)?),
        "hash_sort" => Op::HashSort(HashSort {
            heads: attrs.need("heads")?,
            rounds: attrs.take("rounds")?.unwrap_or(1),
            factors: attrs.list("factors")?,
        }),
        "chunk_attention" => Op::ChunkAttention(chunk_attention(attrs)?),
        "embedding" => Op::Embedding {
            tables: attrs.take("tables")?.unwrap_or(operands / 2),
        },
        "cache" => Op::Cache,
        "rotary" => Op::Rotary {
            heads: attrs.need("heads")?,
            interleaved: attrs.flag("interleaved")?,
        },
        "quantize" => Op::Quantize {
            quant: quant(attrs)?,
        },
        "quantize_parts" => Op::QuantizeParts {
            group: attrs.need("group")?,
            scale: attrs.take("step")?,
        },
        "dequantize" => Op::Dequantize {
            to: attrs.need("to")?,
        },
        _ => {
            let message = format!("there is no operator `{name}`");
            return Err(Problem::new(column, "unknown-operator", message));
        }
    })
}

fn matmul_attributes(attrs: &Matmul) -> Vec<String> {
    let usual = Matmul::default();
    let mut attributes = with_flags(vec![], [("transpose_b", &attrs.transpose_b)]);
    if attrs.parts != usual.parts {
        attributes.push(format!("parts={}", attrs.parts));
    }
    if attrs.alpha.to_bits() != usual.alpha.to_bits() {
        attributes.push(format!("alpha={:?}", attrs.alpha));
    }
    attributes = with_flags(attributes, [("bias", &attrs.bias)]);
    attributes.extend(attrs.activation.map(|f| format!("activation={}", f.name())));
    attributes = with_flags(attributes, [("residual", &attrs.residual)]);
    attributes.extend((attrs.out != usual.out).then(|| format!("out={}", attrs.out)));
    attributes
}

fn matmul(attrs: &mut Attributes) -> Result<Matmul, Problem> {
    let usual = Matmul::default();
    Ok(Matmul {
        transpose_b: attrs.flag("transpose_b")?,
        parts: attrs.take("parts")?.unwrap_or(usual.parts),
        alpha: attrs.take("alpha")?.unwrap_or(usual.alpha),
        bias: attrs.flag("bias")?,
        activation: attrs.take("activation")?,
        residual: attrs.flag("residual")?,
        out: attrs.take("out")?.unwrap_or(usual.out),
    })
}

fn attention_attributes(attrs: &Attention) -> Vec<String> {
    let mut sizes = vec![
        format!("heads={}", attrs.heads),
        format!("kv_heads={}", attrs.kv_heads),
        format!("scale={:?}", attrs.scale),
    ];
    sizes.extend(attrs.softcap.map(|cap| format!("softcap={cap:?}")));
    let flags = [
        ("mask", &attrs.mask),
        ("row_mask", &attrs.row_mask),
        ("relative", &attrs.relative),
        ("causal", &attrs.causal),
    ];
    let mut attributes = with_flags(sizes, flags);
    attributes.extend(attrs.window.map(|window| format!("window={window}")));
    attributes.extend((!attrs.global.is_empty()).then(|| list("global", &attrs.global)));
    attributes.extend((!attrs.replaced.is_empty()).then(|| list("replaced", &attrs.replaced)));
    attributes.extend(attrs.block.map(|block| format!("block={block}")));
    attributes.extend((attrs.out != Elem::F32).then(|| format!("out={}", attrs.out)));
    attributes
}

fn attention(attrs: &mut Attributes) -> Result<Attention, Problem> {
    let heads = attrs.need("heads")?;
    Ok(Attention {
        heads,
        kv_heads: attrs.take("kv_heads")?.unwrap_or(heads),
        scale: attrs.need("scale")?,
        softcap: attrs.take("softcap")?,
        causal: attrs.flag("causal")?,
        window: attrs.take("window")?,
        global: optional_list(attrs, "global")?,
        replaced: optional_list(attrs, "replaced")?,
        mask: attrs.flag("mask")?,
        row_mask: attrs.flag("row_mask")?,
        relative: attrs.flag("relative")?,
        block: attrs.take("block")?,
        out: attrs.take("out")?.unwrap_or(Elem::F32),
    })
}

fn optional_list(attrs: &mut Attributes, name: &str) -> Result<Vec<usize>, Problem> {
    match attrs.has(name) {
        true => attrs.list(name),
        false => Ok(Vec::new()),
    }
}

fn chunk_attributes(attrs: &ChunkAttention) -> Vec<String> {
    let mut attributes = vec![
        format!("heads={}", attrs.heads),
        format!("chunk={}", attrs.chunk),
        format!("before={}", attrs.before),
        format!("after={}", attrs.after),
        format!("scale={:?}", attrs.scale),
        format!("hidden={:?}", attrs.hidden),
    ];
    attributes = with_flags(attributes, [("causal", &attrs.causal)]);
    attributes.extend(attrs.own.map(|own| format!("own={own:?}")));
    attributes.extend(attrs.shared.map(|eps| format!("shared={eps:?}")));
    attributes.extend(attrs.rounds.map(|rounds| format!("rounds={rounds}")));
    attributes = with_flags(attributes, [("seen", &attrs.seen)]);
    attributes.extend((attrs.out != Elem::F32).then(|| format!("out={}", attrs.out)));
    attributes
}

fn chunk_attention(attrs: &mut Attributes) -> Result<ChunkAttention, Problem> {
    Ok(ChunkAttention {
        heads: attrs.need("heads")?,
        chunk: attrs.need("chunk")?,
        before: attrs.take("before")?.unwrap_or(0),
        after: attrs.take("after")?.unwrap_or(0),
        scale: attrs.need("scale")?,
        causal: attrs.flag("causal")?,
        hidden: attrs.need("hidden")?,
        own: attrs.take("own")?,
        shared: attrs.take("shared")?,
        rounds: attrs.take("rounds")?,
        seen: attrs.flag("seen")?,
        out: attrs.take("out")?.unwrap_or(Elem::F32),
    })
}

fn slice(attrs: &mut Attributes) -> Result<Op, Problem> {
    let start: Vec<usize> = attrs.list("start")?;
    let count = attrs.list("count")?;
    let step = match attrs.has("step") {
        true => attrs.list("step")?,
        false => vec![1; start.len()],
    };
    Ok(Op::Slice { start, count, step })
}

fn shape(attrs: &mut Attributes, types: &[Type]) -> Result<Vec<usize>, Problem> {
    match types.first() {
        Some(ty) if !attrs.has("shape") => Ok(ty.shape.clone()),
        Some(_) | None => attrs.list("shape"),
    }
}

fn quant(attrs: &mut Attributes) -> Result<Quant, Problem> {
    match attrs.take_quant() {
        Some(quant) => Ok(quant),
        None => Err(attrs.missing("row(…), scale(…) or channel(…)")),
    }
}

fn list<T: ToString>(name: &str, items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    format!("{name}=[{}]", items.join(","))
}

fn with_flags<const N: usize>(
    mut attributes: Vec<String>,
    flags: [(&str, &bool); N],
) -> Vec<String> {
    attributes.extend(
        flags
            .iter()
            .filter(|(_, set)| **set)
            .map(|(name, _)| (*name).to_owned()),
    );
    attributes
}
