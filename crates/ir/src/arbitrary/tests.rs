//! The strategy reaches everything that there is.

use std::collections::BTreeSet;
use std::mem::discriminant;

use super::grow;
use crate::konst::{FillKind, Source};
use crate::op::{Binary, Reduce, Unary};

/// Operators that are no element-wise function and no reduction.
const OTHERS: [&str; 28] = [
    "input",
    "const",
    "where",
    "cast",
    "reshape",
    "transpose",
    "expand",
    "concat",
    "slice",
    "pad",
    "gather",
    "gather_elements",
    "scatter_elements",
    "scatter_nd",
    "top_k",
    "arg_max",
    "cum_sum",
    "trilu",
    "random_normal",
    "softmax",
    "layer_norm",
    "rms_norm",
    "matmul",
    "attention",
    "hash_sort",
    "chunk_attention",
    "embedding",
    "rotary",
];

#[test]
fn every_operator_and_source_is_reached() {
    let (mut ops, mut sources) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..400u32 {
        let mut state = seed;
        let choices = (0..400).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) ^ (state << 9)
        });
        let graph = grow(choices.collect());
        ops.extend(
            graph
                .node_ids()
                .into_iter()
                .map(|node| graph.op(node).name()),
        );
        for konst in graph.consts() {
            let kind = match &konst.source {
                Source::Synthetic(fill) => {
                    format!("{:?}", discriminant::<FillKind>(&fill.kind))
                }
                Source::Derived(derivation) => {
                    format!("derived {:?}", discriminant(derivation))
                }
                source => format!("source {:?}", discriminant(source)),
            };
            sources.insert(kind);
        }
    }
    let functions = Unary::ALL
        .iter()
        .map(|f| f.name())
        .chain(Binary::ALL.iter().map(|f| f.name()));
    let reductions = Reduce::ALL.iter().map(|kind| kind.name());
    let others = OTHERS.into_iter().chain(["quantize", "dequantize"]);
    for name in functions.chain(reductions).chain(others) {
        assert!(ops.contains(name), "no graph has {name}");
    }
    // Six rules that make values, eleven derivations, bytes and absence.
    assert_eq!(sources.len(), 19, "{sources:?}");
}
