//! `quantize`: int8 products over a wider residual stream.
//!
//! Weights get one scale for each output channel, or steps in blocks of int4. Activations are quantised in front of each product as the
//! recipe says: by groups of a row with scales found at run time, or with one calibrated scale. Heads of q, k and v get a scale
//! a row and head. Between products numbers are f16; results of the graph keep their type, and what
//! is computed from inputs alone (masks, say) stays as it is.

use indexmap::IndexMap;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::konst::{Const, Derivation, Source};
use packwright_ir::op::{ChunkAttention, Matmul};
use packwright_ir::order::topological;
use packwright_ir::{ConstId, Elem, Graph, NodeId, Op, Quant, Type, Value, infer};

use super::integers;
use super::recipe::{self, Activations, BLOCKS, Caches, Layer, Recipe, Weights};

/// What groups of a row are multiples of, so that a product's tile of columns holds whole ones.
const GROUP_UNIT: usize = 16;
/// What constants of int8 are called, behind the name of what they are made from.
pub const INT8: &str = ".int8";
/// The same of int4.
pub const INT4: &str = ".int4";

/// Elements of a row of `k` that share a scale: the longest group of at most `most` that divides the row,
/// or the whole row where there is none.
pub fn row_group(k: usize, most: usize) -> usize {
    if k <= most {
        return k;
    }
    let fits = |group: &usize| k.is_multiple_of(*group) && group.is_multiple_of(GROUP_UNIT);
    (GROUP_UNIT..=most).rev().find(fits).unwrap_or(k)
}

/// Weights of a channel of `k` that share a step: the longest block of at most `most` that divides the
/// channel; none where no block does.
pub fn weight_block(k: usize, most: usize) -> Option<usize> {
    let mut blocks = BLOCKS.into_iter().rev();
    blocks.find(|&block| block <= most && k.is_multiple_of(block))
}

/// As [`row_group`], of the groups that divide a block of weights or are made of such blocks.
fn nested_group(k: usize, most: usize, block: usize) -> usize {
    let nested = |group: &usize| block.is_multiple_of(*group) || group.is_multiple_of(block);
    let mut groups = (GROUP_UNIT..=most.min(k)).rev();
    groups
        .find(|group| k.is_multiple_of(*group) && group.is_multiple_of(GROUP_UNIT) && nested(group))
        .unwrap_or(GROUP_UNIT)
}

/// Quantises by the default recipe.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    run_with(graph, &Recipe::default())
}

/// Quantises by a recipe, and returns how many nodes became integer.
///
/// # Errors
/// A static layer without a scale; shape rules that the result breaks.
pub fn run_with(graph: &mut Graph, recipe: &Recipe) -> Result<usize, Diagnostics> {
    let mut quantizer = Quantizer {
        graph,
        recipe,
        constants: Vec::new(),
        values: IndexMap::new(),
        count: 0,
    };
    quantizer.run()?;
    let count = quantizer.count;
    if count > 0 {
        narrow(graph)?;
    }
    Ok(count)
}

/// How a value is quantised, as a key. A value has one static scale, that of its first reader: how many
/// forms of it there are must not depend on values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    Group(usize),
    Static,
    WideRow,
    WideStatic,
}

struct Quantizer<'a> {
    graph: &'a mut Graph,
    recipe: &'a Recipe,
    /// Quantised forms of constants.
    constants: Vec<(ConstId, Quant, Value)>,
    /// Quantised forms of values.
    values: IndexMap<(Value, Form), Value>,
    count: usize,
}

impl Quantizer<'_> {
    fn run(&mut self) -> Result<(), Diagnostics> {
        for node in topological(self.graph) {
            let operands = self.graph.operands(node);
            let replaced = match self.graph.op(node).clone() {
                Op::Matmul(attrs) => self.matmul(node, &operands, attrs.transpose_b)?,
                Op::Attention(attrs) => self.attention(&operands, attrs.heads, attrs.kv_heads)?,
                Op::HashSort(_) => self.rotations(&operands),
                Op::ChunkAttention(attrs) => self.chunks(&operands, &attrs)?,
                Op::Embedding { tables: 1 } if gives_angles(self.graph, node) => {
                    self.angles(node, &operands)
                }
                Op::Embedding { .. } => self.embedding(&operands),
                _ => None,
            };
            if let Some(replaced) = replaced {
                self.graph.set_operands(node, &replaced);
                self.count += 1;
            }
        }
        Ok(())
    }

    fn matmul(
        &mut self,
        node: NodeId,
        operands: &[Value],
        transpose_b: bool,
    ) -> Result<Option<Vec<Value>>, Diagnostics> {
        let (a, b) = (operands[0], operands[1]);
        let (ty, weights) = (self.graph.ty(a).clone(), self.graph.ty(b).clone());
        let Some(konst) = self.graph.as_const(b) else {
            return Ok(None);
        };
        // A product over a single element is a multiplication, which f32 does better.
        let Some(layer) = recipe::layer(self.graph, node) else {
            return Ok(None);
        };
        if !(ty.elem.is_float() && weights.elem.is_float()) {
            return Ok(None);
        }
        let mut replaced = operands.to_vec();
        let imported = imported(self.graph, a);
        let axis = usize::from(!transpose_b);
        // What a model quantises itself has scales that no block fits.
        let (stored, block) = match imported {
            Some(_) => (None, None),
            None => {
                let head = recipe::gives_result(self.graph, node);
                let block = match self.recipe.weights_of(&layer.name, head) {
                    Weights::Int8 => None,
                    Weights::Int4 { group } => weight_block(layer.columns, group),
                };
                let stored = stored_blocks(self.graph, konst, axis);
                let block = stored.as_ref().map_or(block, |(_, group)| Some(*group));
                (stored, block)
            }
        };
        replaced[0] = match imported {
            Some(quantized) => quantized,
            None => self.activation(a, &layer, block)?,
        };
        replaced[1] = match (stored, block) {
            (Some((id, _)), _) => self.graph.const_value(id),
            (None, None) => self.weights(konst, axis),
            (None, Some(group)) => self.quantized(konst, Quant::Block { axis, group }, INT4),
        };
        let columns = self.graph.ty(replaced[0]).columns();
        if let Op::Matmul(attrs) = self.graph.op(node).clone() {
            let parts = columns / layer.columns.max(1);
            self.graph
                .set_op(node, Op::Matmul(Matmul { parts, ..attrs }));
        }
        Ok(Some(replaced))
    }

    /// `block`: the weights of a channel that share a step, where they are int4.
    fn activation(
        &mut self,
        value: Value,
        layer: &Layer,
        block: Option<usize>,
    ) -> Result<Value, Diagnostics> {
        let columns = self.graph.ty(value).columns();
        let (form, op) = match self.recipe.of(layer) {
            Activations::Row { group } => {
                let group = match block {
                    None => row_group(columns, group),
                    Some(block) => nested_group(columns, group, block),
                };
                return self.value(value, Form::Group(group), Quant::Row { group });
            }
            Activations::Static => {
                let scale = self.scale(layer)?;
                return self.value(value, Form::Static, Quant::Tensor { scale });
            }
            Activations::WideRow => (
                Form::WideRow,
                Op::QuantizeParts {
                    group: columns,
                    scale: None,
                },
            ),
            Activations::WideStatic => (
                Form::WideStatic,
                Op::QuantizeParts {
                    group: columns,
                    scale: Some(self.scale(layer)?),
                },
            ),
        };
        self.formed(value, form, op)
    }

    fn scale(&self, layer: &Layer) -> Result<f32, Diagnostics> {
        self.recipe.scales.get(&layer.name).copied().ok_or_else(|| {
            Diagnostic::error("calibration-missing", "a static layer has no scale")
                .at(layer.name.clone())
                .help("calibrate the graph that is quantised, or give the scale in the recipe")
                .into()
        })
    }

    fn attention(
        &mut self,
        operands: &[Value],
        heads: usize,
        kv_heads: usize,
    ) -> Result<Option<Vec<Value>>, Diagnostics> {
        if !self.graph.ty(operands[0]).elem.is_float() {
            return Ok(None);
        }
        let mut replaced = operands.to_vec();
        for (operand, heads) in replaced.iter_mut().zip([heads, kv_heads, kv_heads]) {
            let width = self.graph.ty(*operand).columns() / heads;
            *operand = self.kept(*operand);
            *operand = self.head(*operand, width)?;
        }
        Ok(Some(replaced))
    }

    /// A factor of attention with one scale a row and head. Columns that are cut out of a wider value
    /// are cut out of its quantised form, so that the value is quantised once.
    fn head(&mut self, value: Value, width: usize) -> Result<Value, Diagnostics> {
        let quant = Quant::Row { group: width };
        if let Op::Slice { start, count, step } = self.graph.op(value.node).clone()
            && let Some(whole) = self.graph.operand(value.node, 0)
        {
            let ty = self.graph.ty(whole);
            let last = ty.rank() - 1;
            let columns_only = (0..last).all(|axis| count[axis] == ty.shape[axis]);
            let between_heads = [start[last], count[last], ty.columns()]
                .iter()
                .all(|n| n.is_multiple_of(width));
            if columns_only && between_heads && step[last] == 1 && !self.turns(whole) {
                let quantized = self.value(whole, Form::Group(width), quant)?;
                let slice = Op::Slice { start, count, step };
                let origin = self.graph.origin_of(value.node);
                return Ok(infer::add(self.graph, slice, &[quantized], origin)?.into());
            }
        }
        if let Op::Cache = self.graph.op(value.node) {
            return self.cache(value, width);
        }
        self.value(value, Form::Group(width), quant)
    }

    /// Rotations in two parts, the second of what quantising the first loses: buckets hang on the
    /// largest of many coordinates, which one part of eight bits would exchange too often.
    fn rotations(&mut self, operands: &[Value]) -> Option<Vec<Value>> {
        let &[x, rotations] = operands else {
            return None;
        };
        let id = self.graph.as_const(rotations)?;
        let rest = self.rest(id);
        Some(vec![x, self.constant(id, 0), self.constant(rest, 0)])
    }

    fn chunks(
        &mut self,
        operands: &[Value],
        attrs: &ChunkAttention,
    ) -> Result<Option<Vec<Value>>, Diagnostics> {
        if !self.graph.ty(operands[0]).elem.is_float() {
            return Ok(None);
        }
        let mut replaced = operands.to_vec();
        for operand in &mut replaced[..=attrs.operands().v] {
            let width = self.graph.ty(*operand).columns() / attrs.heads;
            *operand = self.head(*operand, width)?;
        }
        Ok(Some(replaced))
    }

    /// Whether columns of a value are rotated before they are quantised, so that its other columns are
    /// better quantised alone.
    fn turns(&self, whole: Value) -> bool {
        let readers = |value: Value| self.graph.users(value).into_iter().map(|(user, _)| user);
        let turned = |user: NodeId| matches!(self.graph.op(user), Op::Rotary { .. });
        readers(whole).any(|user| turned(user) || readers(user.into()).any(turned))
    }

    /// Keys or values that a cache begins with are read as the cache holds them.
    fn kept(&self, value: Value) -> Value {
        let begins = |&(user, position): &(NodeId, usize)| {
            let held = self.graph.operand(user, 0);
            matches!(self.graph.op(user), Op::Cache)
                && position == 1
                && held.is_some_and(|held| self.graph.ty(held).rows() == 0)
        };
        let users = self.graph.users(value);
        let cache = users.iter().find(|user| begins(user));
        cache.map_or(value, |&(cache, _)| cache.into())
    }

    /// A cache keeps its rows as attention reads them, or in floats. What it holds was quantised when it was new,
    /// or is whenever it is read: the result is that of quantising all rows.
    fn cache(&mut self, value: Value, width: usize) -> Result<Value, Diagnostics> {
        let quant = Quant::Row { group: width };
        if self.graph.ty(value).quant.is_some() {
            return Ok(value);
        }
        let mut users = self.graph.users(value).into_iter();
        if !users.all(|(user, _)| matches!(self.graph.op(user), Op::Attention(_))) {
            return self.value(value, Form::Group(width), quant);
        }
        let mut operands = self.graph.operands(value.node);
        for operand in operands.iter_mut().skip(1) {
            *operand = match self.recipe.caches {
                Caches::Int8 => self.head(*operand, width)?,
                Caches::F16 => {
                    let origin = self.graph.origin_of(operand.node);
                    infer::add(self.graph, Op::Cast { to: Elem::F16 }, &[*operand], origin)?.into()
                }
            };
        }
        for node in [operands[0].node, value.node] {
            let shape = self.graph.types(node)[0].shape.clone();
            let kept = match self.recipe.caches {
                Caches::Int8 => Type::quantized(shape, quant),
                Caches::F16 => Type::new(Elem::F16, shape),
            };
            self.graph.set_types(node, vec![kept]);
        }
        self.graph.set_operands(value.node, &operands);
        match self.recipe.caches {
            Caches::Int8 => Ok(value),
            Caches::F16 => self.value(value, Form::Group(width), quant),
        }
    }

    fn embedding(&mut self, operands: &[Value]) -> Option<Vec<Value>> {
        let mut replaced = operands.to_vec();
        let mut any = false;
        for table in replaced.iter_mut().skip(1).step_by(2) {
            if let Some(konst) = self.graph.as_const(*table)
                && self.graph.ty(*table).elem.is_float()
            {
                *table = self.constant(konst, 0);
                any = true;
            }
        }
        any.then_some(replaced)
    }

    /// Rows of a table of cosines or sines, in two parts, the second of what quantising the first loses:
    /// eight bits would turn queries and keys by visibly wrong angles.
    fn angles(&mut self, node: NodeId, operands: &[Value]) -> Option<Vec<Value>> {
        let &[ids, table] = operands else {
            return None;
        };
        let id = self.graph.as_const(table)?;
        let rest = self.rest(id);
        self.graph.set_op(node, Op::Embedding { tables: 2 });
        Some(vec![ids, self.constant(id, 0), ids, self.constant(rest, 0)])
    }

    /// What a constant with a scale for each index of the first axis loses.
    fn rest(&mut self, id: ConstId) -> ConstId {
        let konst = self.graph.konst(id);
        self.graph.add_const(Const {
            name: format!("{}.rest", konst.name),
            ty: konst.ty.clone(),
            source: Source::Derived(Derivation::Rest { of: id, axis: 0 }),
        })
    }

    /// The form of a constant with a scale for each index of the axis.
    fn constant(&mut self, id: ConstId, axis: usize) -> Value {
        self.quantized(id, Quant::Channel { axis }, INT8)
    }

    /// The form of weights that a product reads: the model's own integers may have zero points.
    fn weights(&mut self, id: ConstId, axis: usize) -> Value {
        let shifted = Quant::Shifted { axis };
        if let Some(value) = self.known(id, shifted) {
            return value;
        }
        match integers::of(self.graph, id, axis) {
            Some(found) if found.zeros.is_some() => {
                let how = found.derivation(self.graph);
                self.formed_constant(id, shifted, INT8, how)
            }
            _ => self.constant(id, axis),
        }
    }

    fn known(&self, id: ConstId, quant: Quant) -> Option<Value> {
        let mut known = self.constants.iter();
        let found = known.find(|(of, how, _)| (*of, *how) == (id, quant));
        found.map(|&(_, _, value)| value)
    }

    fn quantized(&mut self, id: ConstId, quant: Quant, suffix: &str) -> Value {
        if let Some(value) = self.known(id, quant) {
            return value;
        }
        let stored = match quant {
            Quant::Channel { axis } => integers::of(self.graph, id, axis),
            _ => None,
        };
        let how = match stored {
            Some(found) if found.zeros.is_none() => found.derivation(self.graph),
            _ => Derivation::Quantize { of: id },
        };
        self.formed_constant(id, quant, suffix, how)
    }

    fn formed_constant(
        &mut self,
        id: ConstId,
        quant: Quant,
        suffix: &str,
        how: Derivation,
    ) -> Value {
        let konst = self.graph.konst(id);
        let quantized = Const {
            name: format!("{}{suffix}", konst.name),
            ty: Type::quantized(konst.ty.shape.clone(), quant),
            source: Source::Derived(how),
        };
        let quantized = self.graph.add_const(quantized);
        let value = self.graph.const_value(quantized);
        self.constants.push((id, quant, value));
        value
    }

    fn value(&mut self, value: Value, form: Form, quant: Quant) -> Result<Value, Diagnostics> {
        self.formed(value, form, Op::Quantize { quant })
    }

    fn formed(&mut self, value: Value, form: Form, op: Op) -> Result<Value, Diagnostics> {
        if let Some(&quantized) = self.values.get(&(value, form)) {
            return Ok(quantized);
        }
        let origin = self.graph.origin_of(value.node);
        let node = infer::add(self.graph, op, &[value], origin)?;
        self.values.insert((value, form), node.into());
        Ok(node.into())
    }
}

/// The integers behind a value that a model brings quantised.
fn imported(graph: &Graph, value: Value) -> Option<Value> {
    let quantized = match graph.op(value.node) {
        Op::Dequantize { .. } => graph.operand(value.node, 0)?,
        _ => return None,
    };
    matches!(graph.op(quantized.node), Op::Quantize { .. }).then_some(quantized)
}

/// The int4 weights that the model brings along for a matrix, and how many of a channel share a step: it
/// stands for them, or for several of them side by side.
fn stored_blocks(graph: &mut Graph, id: ConstId, axis: usize) -> Option<(ConstId, usize)> {
    let parts = match &graph.konst(id).source {
        Source::Derived(Derivation::Dequantize { of }) => {
            return match graph.konst(*of).ty.quant {
                Some(Quant::Block { axis: own, group }) if own == axis => Some((*of, group)),
                _ => None,
            };
        }
        Source::Derived(Derivation::Concat { of, axis: joined }) if *joined == axis => of.clone(),
        _ => return None,
    };
    let mut found = Vec::with_capacity(parts.len());
    for part in parts {
        found.push(stored_blocks(graph, part, axis)?);
    }
    let &(_, group) = found.first()?;
    let mut of = [Vec::new(), Vec::new()];
    for &(part, own) in &found {
        let Source::Derived(Derivation::Scaled { of: pair }) = &graph.konst(part).source else {
            return None;
        };
        if own != group {
            return None;
        }
        of[0].push(pair[0]);
        of[1].push(pair[1]);
    }
    let (name, ty) = (graph.konst(id).name.clone(), graph.konst(id).ty.clone());
    let shape = ty.shape;
    let blocks = [shape[axis], shape[1 - axis] / group];
    let types = [
        Type::new(Elem::I4, shape.clone()),
        Type::new(Elem::F16, blocks),
    ];
    let mut joined = Vec::with_capacity(2);
    for ((of, ty), (suffix, axis)) in of
        .into_iter()
        .zip(types)
        .zip([("values", axis), ("steps", 0)])
    {
        joined.push(graph.add_const(Const {
            name: format!("{name}.{suffix}"),
            ty,
            source: Source::Derived(Derivation::Concat { of, axis }),
        }));
    }
    let of = [joined[0], joined[1]];
    let whole = graph.add_const(Const {
        name: format!("{name}{INT4}"),
        ty: Type::quantized(shape, Quant::Block { axis, group }),
        source: Source::Derived(Derivation::Scaled { of }),
    });
    Some((whole, group))
}

/// Narrows the stream to f16: floats that follow from embeddings, products, attention or norms.
fn narrow(graph: &mut Graph) -> Result<(), Diagnostics> {
    let mut problems = Vec::new();
    for node in topological(graph) {
        if let Err(problem) = retype(graph, node) {
            problems.push(problem.at(node.to_string()));
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    widen_outputs(graph)
}

fn retype(graph: &mut Graph, node: NodeId) -> Result<(), Diagnostic> {
    let declared = graph.types(node).to_vec();
    let operands = graph.operands(node);
    let output = graph.is_output(node.into());
    let stream = match graph.op(node) {
        Op::Input { .. } | Op::Const(_) => return Ok(()),
        Op::Cache if declared[0].elem == Elem::F16 => return Ok(()),
        Op::Embedding { .. } => !gives_angles(graph, node),
        Op::LayerNorm { .. } | Op::RmsNorm { .. } => true,
        // Products that stay in floats are no part of the stream: angles of rotations, say.
        Op::Matmul(_) | Op::Attention(_) | Op::ChunkAttention(_) => {
            graph.ty(operands[0]).quant.is_some()
        }
        _ => operands.iter().any(|&v| graph.ty(v).elem == Elem::F16),
    };
    let elem = if stream && !output {
        Elem::F16
    } else {
        Elem::F32
    };
    let mut op = graph.op(node).clone();
    match &mut op {
        Op::Matmul(attrs) => attrs.out = elem,
        Op::Attention(attrs) => attrs.out = elem,
        Op::ChunkAttention(attrs) => attrs.out = elem,
        Op::Dequantize { to } => *to = elem,
        _ => {}
    }
    graph.set_op(node, op);
    let types: Vec<&Type> = operands.iter().map(|&v| graph.ty(v)).collect();
    let mut results = infer::infer(graph.op(node), &types)?;
    for (result, old) in results.iter_mut().zip(&declared) {
        let wanted = Type {
            elem,
            ..result.clone()
        };
        let float = result.elem.is_float() && old.elem != Elem::F64;
        if float && stream && infer::accepts(graph.op(node), result, &wanted) {
            *result = wanted;
        }
    }
    graph.set_types(node, results);
    Ok(())
}

/// Whether rows of a table are cosines or sines that rotations read; these stay as wide as they are.
fn gives_angles(graph: &Graph, node: NodeId) -> bool {
    let users = graph.users(node.into());
    users.iter().any(|&(user, position)| match graph.op(user) {
        Op::Rotary { .. } => position > 0,
        Op::Reshape { .. } | Op::Slice { .. } | Op::Expand { .. } | Op::Transpose { .. } => {
            gives_angles(graph, user)
        }
        _ => false,
    })
}

/// Results that were narrowed on their way become what they were; caches are no results, but state.
fn widen_outputs(graph: &mut Graph) -> Result<(), Diagnostics> {
    for index in 0..graph.outputs().len() {
        let value = graph.outputs()[index].value;
        let state = matches!(graph.op(value.node), Op::Cache);
        if graph.ty(value).elem == Elem::F16 && graph.as_const(value).is_none() && !state {
            let origin = graph.origin_of(value.node);
            let wide = infer::add(graph, Op::Cast { to: Elem::F32 }, &[value], origin)?;
            graph.set_output(index, wide.into());
        }
    }
    Ok(())
}
