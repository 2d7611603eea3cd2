//! `eliminate-dead`: nodes whose results nobody reads go, and so do constants.

use packwright_ir::diag::Diagnostics;
use packwright_ir::order::topological;
use packwright_ir::{Graph, Op, Value};

/// Removes dead nodes; inputs stay, they are the model's interface.
///
/// # Errors
/// None.
pub fn run(graph: &mut Graph) -> Result<usize, Diagnostics> {
    let mut count = 0;
    for node in topological(graph).into_iter().rev() {
        let results = graph.types(node).len() as u32;
        let read = (0..results).any(|slot| graph.use_count(Value { node, slot }) > 0);
        if !read && !matches!(graph.op(node), Op::Input { .. }) {
            graph.set_operands(node, &[]);
            graph.remove(node);
            count += 1;
        }
    }
    Ok(count)
}
