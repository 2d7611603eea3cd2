//! A pass of one's own on a graph in text form, proven by the oracle.
#![allow(clippy::print_stdout)]

use anyhow::{anyhow, ensure};
use packwright::ir::eval::{self, compare};
use packwright::ir::op::{Binary, Op, Unary};
use packwright::ir::order::topological;
use packwright::ir::{Graph, infer, text};

const BEFORE: &str = "\
graph squares
  %0 : f32[2,4] = input \"x\"
  %1 : f32[2,4] = mul %0, %0
  %2 : f32[2,4] = sqrt %1
  output %2 \"y\"
";

/// `√(x·x)` is `|x|`.
fn fuse_magnitude(graph: &mut Graph) -> anyhow::Result<usize> {
    let mut count = 0;
    for node in topological(graph) {
        let (Op::Unary(Unary::Sqrt), Some(square)) = (graph.op(node), graph.operand(node, 0))
        else {
            continue;
        };
        if *graph.op(square.node) != Op::Binary(Binary::Mul) {
            continue;
        }
        let factors = graph.operands(square.node);
        if factors[0] == factors[1] {
            let origin = graph.origin_of(node);
            let magnitude = infer::add(graph, Op::Unary(Unary::Abs), &factors[..1], origin)
                .map_err(|problem| anyhow!("{problem}"))?;
            graph.replace_uses(node.into(), magnitude.into());
            count += 1;
        }
    }
    Ok(count)
}

fn main() -> anyhow::Result<()> {
    let before = text::parse(BEFORE).map_err(|e| anyhow!("{}", text::annotate(BEFORE, &e)))?;
    let mut after = before.clone();
    let rewrites = fuse_magnitude(&mut after)?;
    packwright::compile::pipeline::run_pass("eliminate-dead", &mut after)
        .map_err(|problems| anyhow!("{problems}"))?;
    println!("{rewrites} rewritten:\n{}", text::print(&after));

    let inputs = eval::random_inputs(&before, 1);
    let (a, b) = (eval::run(&before, &inputs)?, eval::run(&after, &inputs)?);
    let difference = compare::max_rel(&a[0].1, &b[0].1);
    ensure!(
        difference < 1e-6,
        "the pass changes the result by {difference:e}"
    );
    println!("the oracle agrees: largest difference {difference:e}");
    Ok(())
}
