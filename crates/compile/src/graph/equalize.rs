//! `equalize`: magnitudes of channels move between what makes an activation and the weights that read it.
//!
//! Channel `j` of an activation is multiplied by `m[j]` where it is made, and what reads it divides by it. With
//! `m = √(w / x)`, of the largest magnitude `x` of the channel over the samples and `w` of the weights that read it
//! (SmoothQuant at strength ½), outliers leave rows that share a scale. Norms take the factors into gain and
//! shift, products into rows of their weights, where a gate, attention or ReLU behind them lets factors
//! through (cross-layer equalisation).
//!
//! Where factors go is a matter of structure alone; factors are values. Without samples those of norms are 1, and
//! ranges of products are those of their weights. Weights that something else reads as well keep their values, and
//! so do those that a model brings as integers.

use bytes::Bytes;
use indexmap::IndexMap;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::eval::{self, konst as values};
use packwright_ir::konst::{Const, Derivation, Fill, FillKind, Source};
use packwright_ir::op::{Activation, Attention, Binary};
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{ConstId, Elem, Graph, NodeId, Op, Type, Value, infer};

use super::calibrate;
use super::matching::only_user;
use super::recipe::{self, Equalize};
use super::samples::Samples;
use super::sensitivity::{attended, attended_rows};

/// Equalises with what weights alone say.
///
/// # Errors
/// When weights cannot be read.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    run_with(graph, Equalize::All, &Samples::default())
}

/// Equalises as far as is asked for, and returns how many activations were given factors.
///
/// # Errors
/// When a sample cannot be evaluated, or weights cannot be read.
pub fn run_with(
    graph: &mut Graph,
    reach: Equalize,
    samples: &Samples,
) -> Result<usize, Diagnostics> {
    let sites = sites(graph, reach);
    let measured = measure(graph, &sites, samples)?;
    for site in &sites {
        let factors = factors(graph, site, measured.get(&site.input))?;
        rewrite(graph, site, factors)?;
    }
    Ok(sites.len())
}

/// An activation that can be given factors.
struct Site {
    input: Value,
    /// The products that read it.
    readers: Vec<NodeId>,
    maker: Maker,
    /// For each channel of the activation, the channel of the maker that it hangs on.
    channels: Vec<usize>,
    /// Channels of the maker.
    width: usize,
}

/// What takes the factors of an activation.
#[derive(Clone, Copy, Debug)]
enum Maker {
    /// A norm with a gain; one of its own is made for the readers where others read the norm as well.
    Norm { node: NodeId, alone: bool },
    /// A product with constant weights.
    Product { node: NodeId },
}

/// The largest magnitude of each channel of an activation.
type Measured = IndexMap<Value, Vec<f32>>;

fn sites(graph: &Graph, reach: Equalize) -> Vec<Site> {
    let roots = Roots::of(graph);
    let mut by_input: IndexMap<Value, Vec<NodeId>> = IndexMap::new();
    for layer in recipe::layers(graph) {
        by_input.entry(layer.input).or_default().push(layer.node);
    }
    let sites = by_input.into_iter().filter_map(|(input, readers)| {
        let free = readers.iter().all(|&node| roots.are_free(graph, node));
        let site = site(graph, input, readers, &roots)?;
        let wanted = match (reach, site.maker) {
            (Equalize::Nothing, _) => false,
            (Equalize::Norms, maker) => matches!(maker, Maker::Norm { .. }),
            (Equalize::All, _) => true,
        };
        (free && wanted).then_some(site)
    });
    sites.collect()
}

fn site(graph: &Graph, input: Value, readers: Vec<NodeId>, roots: &Roots) -> Option<Site> {
    let columns = graph.ty(input).columns();
    let users = graph.users(input);
    let by_readers = users
        .iter()
        .all(|&(user, at)| at == 0 && readers.contains(&user));
    let alone = by_readers && !graph.is_output(input);
    if let Op::LayerNorm { affine: true, .. } | Op::RmsNorm { affine: true, .. } =
        graph.op(input.node)
    {
        let node = input.node;
        let affine = &graph.operands(node)[1..];
        let known = affine.iter().all(|&part| graph.as_const(part).is_some());
        return known.then_some(Site {
            input,
            readers,
            maker: Maker::Norm { node, alone },
            channels: (0..columns).collect(),
            width: columns,
        });
    }
    let (node, channels) = product(graph, input).filter(|_| alone)?;
    let width = graph.types(node)[0].columns();
    (roots.are_free(graph, node) && !readers.contains(&node)).then_some(Site {
        input,
        readers,
        maker: Maker::Product { node },
        channels,
        width,
    })
}

/// The product whose channels a value's channels are multiples of, and which of them.
fn product(graph: &Graph, value: Value) -> Option<(NodeId, Vec<usize>)> {
    let whole = || (0..graph.ty(value).columns()).collect();
    match graph.op(value.node) {
        Op::Matmul(attrs) => {
            let lets_through = matches!(attrs.activation, None | Some(Activation::Relu));
            let bias = graph.operand(value.node, 2);
            let known = !attrs.bias || bias.is_some_and(|bias| graph.as_const(bias).is_some());
            let plain = lets_through && known && !attrs.residual;
            plain.then(|| (value.node, whole()))
        }
        Op::Slice { start, count, step } => {
            let of = graph
                .operand(value.node, 0)
                .filter(|_| step.last() == Some(&1))?;
            // Other slices of the product keep their channels as they are.
            let (node, channels) = product(graph, of)?;
            let shape = &graph.ty(of).shape;
            let last = shape.len() - 1;
            let columns_only = count[..last] == shape[..last];
            let range = start[last]..start[last] + count[last];
            let taken = |other: &Op| match other {
                Op::Slice { start, count, .. } => {
                    start[last] < range.end && range.start < start[last] + count[last]
                }
                _ => true,
            };
            let users = graph.users(of);
            let shared = users
                .iter()
                .filter(|(user, _)| taken(graph.op(*user)))
                .count();
            (columns_only && shared == 1 && !graph.is_output(of))
                .then(|| (node, channels[range].to_vec()))
        }
        Op::Binary(Binary::Mul) => {
            let operands = graph.operands(value.node);
            let shape = &graph.ty(value).shape;
            operands.into_iter().find_map(|operand| {
                only_user(graph, operand).filter(|_| graph.ty(operand).shape == *shape)?;
                let (node, channels) = product(graph, operand)?;
                let Op::Matmul(attrs) = graph.op(node) else {
                    return None;
                };
                attrs.activation.is_none().then_some((node, channels))
            })
        }
        Op::Attention(Attention {
            heads, kv_heads, ..
        }) => {
            let v = graph.operand(value.node, 2)?;
            only_user(graph, v)?;
            let (node, channels) = product(graph, v)?;
            let Op::Matmul(attrs) = graph.op(node) else {
                return None;
            };
            let width = channels.len() / kv_heads;
            let each = heads / kv_heads;
            let fits = graph.ty(value).columns() == width * heads && attrs.activation.is_none();
            let column = |at: usize| channels[at / width / each * width + at % width];
            fits.then(|| (node, (0..width * heads).map(column).collect()))
        }
        _ => None,
    }
}

/// Which constants hang on the values of which.
struct Roots {
    /// How many of the constants that nodes read are made from a constant, by its index.
    readers: Vec<usize>,
}

impl Roots {
    fn of(graph: &Graph) -> Self {
        let mut readers = vec![0; graph.consts().len()];
        for node in graph.node_ids() {
            if let Op::Const(id) = *graph.op(node) {
                let users = graph.users(node.into()).len();
                each_source(graph, id, &mut |source| readers[source.index()] += users);
            }
        }
        Self { readers }
    }

    /// Whether nobody but the node depends on the values of its weights, which are floats of their own.
    fn are_free(&self, graph: &Graph, node: NodeId) -> bool {
        let Some(id) = graph
            .operand(node, 1)
            .and_then(|weights| graph.as_const(weights))
        else {
            return false;
        };
        let mut free = graph.konst(id).ty.rank() == 2;
        each_source(graph, id, &mut |source| {
            let ty = &graph.konst(source).ty;
            let plain = ty.elem.is_float() && ty.quant.is_none();
            free &= plain && self.readers[source.index()] == 1;
        });
        free
    }
}

/// A constant and all that it is made from.
fn each_source(graph: &Graph, id: ConstId, visit: &mut dyn FnMut(ConstId)) {
    visit(id);
    for &source in graph.konst(id).derived_from() {
        each_source(graph, source, visit);
    }
}

/// The largest magnitudes over the rows that samples attend to.
fn measure(graph: &Graph, sites: &[Site], samples: &Samples) -> Result<Measured, Diagnostics> {
    let mut measured = Measured::new();
    samples.each(&mut |number, sample| {
        let seen = attended(sample);
        let mut watch = |value: Value, tensor: &Tensor| {
            if !sites.iter().any(|site| site.input == value) {
                return;
            }
            let columns = graph.ty(value).columns().max(1);
            let largest = measured.entry(value).or_insert_with(|| vec![0.0; columns]);
            for row in attended_rows(tensor, seen.as_deref()).chunks_exact(columns) {
                widen(largest, row.iter().copied());
            }
        };
        eval::run_with(graph, sample, &mut watch)
            .map_err(|error| calibrate::failed(number, &error))?;
        Ok(())
    })?;
    Ok(measured)
}

fn widen(largest: &mut [f32], values: impl Iterator<Item = f32>) {
    for (largest, value) in largest.iter_mut().zip(values) {
        *largest = largest.max(value.abs());
    }
}

/// A factor for each channel of the maker; none where values are absent.
fn factors(
    graph: &Graph,
    site: &Site,
    measured: Option<&Vec<f32>>,
) -> Result<Option<Vec<f32>>, Diagnostics> {
    let made = match (measured, site.maker) {
        (Some(measured), _) => {
            let mut made = vec![0.0f32; site.width];
            for (&channel, largest) in site.channels.iter().zip(measured) {
                made[channel] = made[channel].max(*largest);
            }
            Some(made)
        }
        (None, Maker::Norm { .. }) => None,
        (None, Maker::Product { node }) => ranges(graph, node, channel_axis)?,
    };
    let mut read = vec![0.0f32; site.width];
    for &reader in &site.readers {
        let Some(own) = ranges(graph, reader, input_axis)? else {
            return Ok(None);
        };
        for (&channel, range) in site.channels.iter().zip(own) {
            read[channel] = read[channel].max(range);
        }
    }
    Ok(made.map(|made| balanced(&made, &read)))
}

/// `√(read / made)` over its geometric mean; 1 where a channel has no range.
fn balanced(made: &[f32], read: &[f32]) -> Vec<f32> {
    let ratio = |(&made, &read): (&f32, &f32)| {
        let log = 0.5 * (f64::from(read).ln() - f64::from(made).ln());
        log.is_finite().then_some(log)
    };
    let logs: Vec<Option<f64>> = made.iter().zip(read).map(ratio).collect();
    let known: Vec<f64> = logs.iter().flatten().copied().collect();
    let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let factor = |log: Option<f64>| log.map_or(1.0, |log| (log - mean).exp() as f32);
    logs.into_iter().map(factor).collect()
}

/// The axis of a product's weights that its result's channels lie on.
fn channel_axis(transpose_b: bool) -> usize {
    usize::from(!transpose_b)
}

/// The axis that its input's channels lie on.
fn input_axis(transpose_b: bool) -> usize {
    usize::from(transpose_b)
}

/// The largest magnitude of weights for each index along an axis; none where they are absent.
fn ranges(
    graph: &Graph,
    node: NodeId,
    axis: fn(bool) -> usize,
) -> Result<Option<Vec<f32>>, Diagnostics> {
    let Some((id, transpose_b)) = weights(graph, node) else {
        return Ok(None);
    };
    if !values::has_values(graph, id) {
        return Ok(None);
    }
    let tensor = values::value(graph, id).map_err(|error| {
        Diagnostic::error(error.code(), error.to_string()).at(graph.konst(id).name.clone())
    })?;
    let (Data::F32(w) | Data::F16(w)) = &tensor.data else {
        return Ok(None);
    };
    let shape = tensor.shape().to_vec();
    let mut largest = vec![0.0; shape[axis(transpose_b)]];
    for (row, values) in w.outer_iter().enumerate() {
        match axis(transpose_b) {
            0 => widen(
                &mut largest[row..],
                values.iter().copied().reduce(max).into_iter(),
            ),
            _ => widen(&mut largest, values.iter().copied()),
        }
    }
    Ok(Some(largest))
}

fn max(a: f32, b: f32) -> f32 {
    a.abs().max(b.abs())
}

fn weights(graph: &Graph, node: NodeId) -> Option<(ConstId, bool)> {
    let Op::Matmul(attrs) = graph.op(node) else {
        return None;
    };
    let id = graph.as_const(graph.operand(node, 1)?)?;
    Some((id, attrs.transpose_b))
}

/// Puts the factors into the maker and what undoes them into the readers.
fn rewrite(graph: &mut Graph, site: &Site, factors: Option<Vec<f32>>) -> Result<(), Diagnostics> {
    let Some((first, _)) = weights(graph, site.readers[0]) else {
        return Ok(());
    };
    let name = graph.konst(first).name.clone();
    let inverse: Option<Vec<f32>> = factors
        .as_ref()
        .map(|factors| site.channels.iter().map(|&c| 1.0 / factors[c]).collect());
    let to = vector(graph, format!("{name}.factors"), site.width, factors);
    let from = vector(
        graph,
        format!("{name}.inverse"),
        site.channels.len(),
        inverse,
    );
    let input = match site.maker {
        Maker::Norm { node, alone } => {
            let mut operands = graph.operands(node);
            for part in &mut operands[1..] {
                *part = scaled(graph, *part, to, 0);
            }
            if alone {
                graph.set_operands(node, &operands);
                site.input
            } else {
                let origin = graph.origin_of(node);
                infer::add(graph, graph.op(node).clone(), &operands, origin)?.into()
            }
        }
        Maker::Product { node } => {
            if let Some((_, transpose_b)) = weights(graph, node) {
                let mut operands = graph.operands(node);
                operands[1] = scaled(graph, operands[1], to, channel_axis(transpose_b));
                if let Op::Matmul(attrs) = graph.op(node)
                    && attrs.bias
                {
                    operands[2] = scaled(graph, operands[2], to, 0);
                }
                graph.set_operands(node, &operands);
            }
            site.input
        }
    };
    for &reader in &site.readers {
        let Some((_, transpose_b)) = weights(graph, reader) else {
            continue;
        };
        let mut operands = graph.operands(reader);
        operands[0] = input;
        operands[1] = scaled(graph, operands[1], from, input_axis(transpose_b));
        graph.set_operands(reader, &operands);
    }
    Ok(())
}

/// A row of factors; ones where there are none.
fn vector(graph: &mut Graph, name: String, length: usize, factors: Option<Vec<f32>>) -> ConstId {
    let source = match factors {
        Some(factors) => {
            let bytes = factors.iter().flat_map(|x| x.to_le_bytes());
            Source::Bytes(Bytes::from(bytes.collect::<Vec<u8>>()))
        }
        None => Source::Synthetic(Fill {
            name: String::new(),
            seed: 0,
            kind: FillKind::Constant { value: 1.0 },
        }),
    };
    let ty = Type::new(Elem::F32, [length]);
    graph.add_const(Const { name, ty, source })
}

/// A constant with factors along an axis, under the name that it has.
fn scaled(graph: &mut Graph, value: Value, factors: ConstId, axis: usize) -> Value {
    let Some(id) = graph.as_const(value) else {
        return value;
    };
    let konst = graph.konst(id);
    let scaled = Const {
        name: konst.name.clone(),
        ty: konst.ty.clone(),
        source: Source::Derived(Derivation::ScaleEach {
            of: [id, factors],
            axis,
        }),
    };
    let scaled = graph.add_const(scaled);
    graph.const_value(scaled)
}
