//! `share-constants`: constants that are the same become one, so that they are stored and read once.
//!
//! Equal are constants with the same bytes, made by the same rule, or derived alike from equal ones.
//! Vectors of weights with the same bytes stay apart: biases that happen to be zero are a matter of
//! values, on which the program must not depend. Matrices that are equal are tied.

use std::collections::HashMap;

use packwright_ir::diag::Diagnostics;
use packwright_ir::konst::{Derivation, Source};
use packwright_ir::{ConstId, Graph, Op, Value};

use super::matching::is_known;

/// Points readers at the first of equal constants.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let count = graph.consts().len();
    let mut kept: Vec<Option<ConstId>> = vec![None; count];
    let mut first: HashMap<Key, Vec<ConstId>> = HashMap::new();
    for index in 0..count {
        representative(graph, ConstId(index as u32), &mut kept, &mut first);
    }
    let mut merged = 0;
    for node in graph.node_ids() {
        let Op::Const(id) = *graph.op(node) else {
            continue;
        };
        let to = kept[id.index()].unwrap_or(id);
        if to != id {
            let value = graph.const_value(to);
            graph.replace_uses(Value::from(node), value);
            merged += 1;
        }
    }
    Ok(merged)
}

/// What equal constants agree in; those with bytes are compared as well.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Bytes {
        ty: String,
        length: usize,
        head: Vec<u8>,
    },
    Rule(String),
}

/// Bytes that stand for the rest while looking for candidates.
const HEAD: usize = 64;

fn representative(
    graph: &Graph,
    id: ConstId,
    kept: &mut [Option<ConstId>],
    first: &mut HashMap<Key, Vec<ConstId>>,
) -> ConstId {
    if let Some(id) = kept[id.index()] {
        return id;
    }
    let konst = graph.konst(id);
    let ty = konst.ty.to_string();
    let key = match &konst.source {
        Source::Bytes(bytes) if is_known(graph, id) || konst.ty.rank() >= 2 => {
            let head = bytes.iter().take(HEAD).copied().collect();
            Some(Key::Bytes {
                ty,
                length: bytes.len(),
                head,
            })
        }
        Source::Synthetic(fill) => Some(Key::Rule(format!("{ty} {fill:?}"))),
        Source::Bytes(_) | Source::Absent => None,
        Source::Derived(derivation) => {
            let mut derivation = derivation.clone();
            match &mut derivation {
                Derivation::Transpose { of, .. }
                | Derivation::Reshape { of }
                | Derivation::Expand { of }
                | Derivation::Slice { of, .. }
                | Derivation::Quantize { of }
                | Derivation::Dequantize { of }
                | Derivation::Rest { of, .. }
                | Derivation::Scale { of, .. } => *of = representative(graph, *of, kept, first),
                Derivation::Scaled { of } | Derivation::ScaleEach { of, .. } => {
                    for of in of {
                        *of = representative(graph, *of, kept, first);
                    }
                }
                Derivation::Concat { of, .. } => {
                    for of in of {
                        *of = representative(graph, *of, kept, first);
                    }
                }
            }
            Some(Key::Rule(format!("{ty} {derivation:?}")))
        }
    };
    let same = key.map_or(id, |key| {
        let candidates = first.entry(key).or_default();
        let same = candidates.iter().copied().find(|&other| {
            match (&konst.source, &graph.konst(other).source) {
                (Source::Bytes(a), Source::Bytes(b)) => a == b,
                _ => true,
            }
        });
        same.unwrap_or_else(|| {
            candidates.push(id);
            id
        })
    });
    kept[id.index()] = Some(same);
    same
}
