//! `fuse-cache`: keys and values of earlier positions become caches that last.
//!
//! Exports take a past `[b, heads, rows, width]` as an input, join new rows to it and give the whole back
//! as an output. What lasts from one pass to the next is state: the past becomes what a [`Op::Cache`]
//! holds, with the heads of a row side by side, and only new rows are added. A prefill has no past; its
//! caches hold nothing yet. A past that nothing is added to (keys and values of an encoder) is read.

use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::{Graph, NodeId, Op, OriginId, Type, Value, infer};

use super::matching::add;

/// How exporters begin the names of what comes in.
const PAST: [&str; 4] = ["past_key_values.", "past_key_values_", "past.", "past_"];
/// How they begin the names of what goes out.
const PRESENT: [&str; 4] = ["present_key_values.", "present.", "present_", "present"];

/// Makes caches of pasts and presents.
///
/// # Errors
/// `cache-without-present` for a past that grows and is not given back.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    let mut problems = Vec::new();
    for node in graph.inputs().to_vec() {
        let Some(past) = Past::of(graph, node) else {
            continue;
        };
        match past.grown(graph) {
            Some(whole) if graph.is_output(whole) => {
                let new = graph.operand(whole.node, 1);
                cache(graph, &past, new, whole)?;
                count += 1;
            }
            Some(whole) => {
                problems.push(without_present(&past, graph.origin_of(whole.node), graph))
            }
            None if graph.use_count(node.into()) > 0 => {
                cache(graph, &past, None, node.into())?;
                count += 1;
            }
            None => {}
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    for index in 0..graph.outputs().len() {
        count += usize::from(begin(graph, index)?);
    }
    Ok(count)
}

/// What the names of a past and its present have in common: `0.key` of `past_key_values.0.key`.
pub fn state_name(name: &str) -> &str {
    PAST.iter()
        .chain(&PRESENT)
        .find_map(|prefix| name.strip_prefix(prefix))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(name)
}

/// A past among the inputs.
struct Past {
    node: NodeId,
    name: String,
    /// `[b, heads, rows, width]`.
    shape: [usize; 4],
}

impl Past {
    fn of(graph: &Graph, node: NodeId) -> Option<Self> {
        let Op::Input { name } = graph.op(node) else {
            return None;
        };
        let ty = &graph.types(node)[0];
        let shape = <[usize; 4]>::try_from(ty.shape.as_slice()).ok()?;
        let named = PAST.iter().any(|prefix| name.starts_with(prefix));
        (named && ty.elem.is_float() && ty.quant.is_none()).then(|| Self {
            node,
            name: name.clone(),
            shape,
        })
    }

    /// The past with new rows behind it.
    fn grown(&self, graph: &Graph) -> Option<Value> {
        let [(user, 0)] = graph.users(self.node.into())[..] else {
            return None;
        };
        let joins = matches!(graph.op(user), Op::Concat { axis: 2 });
        (joins && graph.operands(user).len() == 2).then(|| user.into())
    }
}

fn without_present(past: &Past, origin: OriginId, graph: &Graph) -> Diagnostic {
    let name = &past.name;
    let message = format!("the input {name:?} grows, but no output gives it back");
    Diagnostic::error("cache-without-present", message)
        .at(graph
            .origin(origin)
            .nodes
            .first()
            .cloned()
            .unwrap_or_default())
        .help("export the model with `use_cache`, so that each past has its present")
}

/// Puts a cache in the place of a past and of what it grows to.
fn cache(
    graph: &mut Graph,
    past: &Past,
    new: Option<Value>,
    whole: Value,
) -> Result<(), Diagnostics> {
    let apart = graph.ty(whole).shape.clone();
    let [b, heads, rows, width] = past.shape;
    // Nobody reads the past but what is replaced, so it can lie as the cache needs it.
    let elem = graph.types(past.node)[0].elem;
    graph.set_types(
        past.node,
        vec![Type::new(elem, vec![b, rows, heads * width])],
    );
    replace(graph, past.node.into(), new, whole, &apart)
}

/// A present without a past: its cache holds nothing before.
fn begin(graph: &mut Graph, index: usize) -> Result<bool, Diagnostics> {
    let output = graph.outputs()[index].clone();
    let value = output.value;
    let ty = graph.ty(value).clone();
    let named = PRESENT.iter().any(|prefix| output.name.starts_with(prefix));
    let Ok([b, heads, _, width]) = <[usize; 4]>::try_from(ty.shape.as_slice()) else {
        return Ok(false);
    };
    let computed =
        graph.as_const(value).is_none() && !matches!(graph.op(value.node), Op::Input { .. });
    if !named || !computed || !ty.elem.is_float() {
        return Ok(false);
    }
    let nothing = Type::new(ty.elem, vec![b, 0, heads * width]);
    let name = format!("{}{}", PAST[0], state_name(&output.name));
    let held = held_nothing(graph, name, nothing);
    replace(graph, held, Some(value), value, &ty.shape)?;
    Ok(true)
}

/// What a cache that begins empty holds: the past of the same name, if the export has one without rows.
fn held_nothing(graph: &mut Graph, name: String, nothing: Type) -> Value {
    let given = graph
        .inputs()
        .iter()
        .copied()
        .find(|&node| matches!(graph.op(node), Op::Input { name: own } if *own == name));
    match given {
        Some(node) => {
            graph.set_types(node, vec![nothing]);
            node.into()
        }
        None => graph.add_input(name, nothing),
    }
}

/// Adds a cache and makes the readers of `whole`, which is `[b, heads, rows, width]`, read it.
fn replace(
    graph: &mut Graph,
    held: Value,
    new: Option<Value>,
    whole: Value,
    shape: &[usize],
) -> Result<(), Diagnostics> {
    let origin = graph.origin_of(whole.node);
    let mut operands = vec![held];
    let mut turned = None;
    if let Some(new) = new {
        let rows = add(graph, turn(), &[new], origin)?;
        turned = Some((rows.node, new));
        let [b, count, heads, width] = graph.ty(rows).shape[..] else {
            unreachable!("presents have four axes")
        };
        let shape = vec![b, count, heads * width];
        operands.push(add(graph, Op::Reshape { shape }, &[rows], origin)?);
    }
    let cache: Value = infer::add(graph, Op::Cache, &operands, origin)?.into();
    let shape = vec![shape[0], shape[2], shape[1], shape[3]];
    let apart = add(graph, Op::Reshape { shape }, &[cache], origin)?;
    let as_before = add(graph, turn(), &[apart], origin)?;
    let outputs: Vec<usize> = (0..graph.outputs().len())
        .filter(|&index| graph.outputs()[index].value == whole)
        .collect();
    graph.replace_uses(whole, as_before);
    for index in outputs {
        graph.set_output(index, cache);
    }
    // What the cache itself is made from stays.
    graph.set_operands(cache.node, &operands);
    if let Some((node, new)) = turned {
        graph.set_operands(node, &[new]);
    }
    Ok(())
}

/// Exchanges heads and rows.
fn turn() -> Op {
    Op::Transpose {
        perm: vec![0, 2, 1, 3],
    }
}
