//! `block-attention`: keys of long attentions come in blocks.
//!
//! The scores of a row then never stand side by side: each block has a softmax and a sum of values of its own,
//! and what is left of it is a row of results and the logarithm of a sum. So scores need room for a block
//! however long a sequence is, and keys and values can come and go block by block.

use packwright_ir::diag::Diagnostics;
use packwright_ir::order::topological;
use packwright_ir::{Graph, Op};

use crate::plan::cache;

/// Columns of a block: rows of up to so many scores stay whole.
pub const KEYS: usize = 512;

/// Rewrites; returns how many nodes changed.
///
/// # Errors
/// None; the signature is that of all passes.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph) {
        let Op::Attention(attrs) = graph.op(node) else {
            continue;
        };
        let operands = graph.operands(node);
        let [rows, columns] = [0, 1].map(|at| graph.ty(operands[at]).shape[1]);
        let long = columns > KEYS;
        let integers = !graph.ty(operands[0]).elem.is_float();
        let apart = attrs.window.is_none() && attrs.global.is_empty() && attrs.replaced.is_empty();
        // In causal order the last rows are those of the last columns.
        let apart = apart && (!attrs.causal || rows <= columns);
        let known = attrs.block.is_none() && !cache::reads_held(graph, node);
        if long && integers && apart && known {
            let mut attrs = attrs.clone();
            attrs.block = Some(KEYS);
            graph.set_op(node, Op::Attention(attrs));
            count += 1;
        }
    }
    Ok(count)
}
