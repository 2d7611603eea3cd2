//! `merge-common`: nodes that compute the same from the same become one.

use std::collections::HashMap;

use packwright_ir::diag::Diagnostics;
use packwright_ir::order::topological;
use packwright_ir::{Graph, NodeId, Op, Value};

/// Merges equal nodes; the first stays.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut first: HashMap<String, NodeId> = HashMap::new();
    let mut count = 0;
    for node in topological(graph) {
        if matches!(graph.op(node), Op::Input { .. }) {
            continue;
        }
        let key = format!(
            "{:?} {:?} {:?}",
            graph.op(node),
            graph.operands(node),
            graph.types(node)
        );
        match first.get(&key) {
            None => {
                first.insert(key, node);
            }
            Some(&kept) => {
                for slot in 0..graph.types(node).len() as u32 {
                    graph.replace_uses(Value { node, slot }, Value { node: kept, slot });
                }
                count += 1;
            }
        }
    }
    Ok(count)
}
