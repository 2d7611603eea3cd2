//! Logits of one position instead of all: a choice of what a program computes, not a rewriting of the same.
//!
//! Who generates text reads the logits of the last position of a prompt, and a head over a vocabulary is the
//! widest product of all. So the row that is asked for is taken out in front of the head. Which row that is
//! comes from an input, because a prompt may be shorter than the pass.

use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::{Elem, Graph, NodeId, Op, Type, Value};

use super::matching::add;

/// Name of the input that says of which position logits are wanted, from 0.
pub const LOGITS_POSITION: &str = "logits_position";
/// What exporters call the result.
const LOGITS: &str = "logits";

/// Narrows the logits of a graph to one position, and says whether there were more.
///
/// # Errors
/// `logits-all` where no product gives them.
pub fn run(graph: &mut Graph) -> Result<bool, Diagnostics> {
    let outputs = graph.outputs();
    let Some(index) = outputs.iter().position(|output| output.name == LOGITS) else {
        return Ok(false);
    };
    let value = outputs[index].value;
    let rows = match graph.ty(value).shape[..] {
        [1, rows, _] => rows,
        [_, 1, _] => 1,
        _ => return Err(unknown("they are not [1, positions, vocabulary]")),
    };
    if rows < 2 {
        return Ok(false);
    }
    let Some((head, behind)) = head(graph, value) else {
        return Err(unknown(
            "they are not the product of rows and constant weights",
        ));
    };
    let origin = graph.origin_of(head);
    let mut operands = graph.operands(head);
    let width = graph.ty(operands[0]).columns();
    let position = graph.add_input(LOGITS_POSITION, Type::new(Elem::I64, [1]));
    let matrix = Op::Reshape {
        shape: vec![rows, width],
    };
    let matrix = add(graph, matrix, &[operands[0]], origin)?;
    let row = add(graph, Op::Gather { axis: 0 }, &[matrix, position], origin)?;
    let shape = vec![1, 1, width];
    operands[0] = add(graph, Op::Reshape { shape }, &[row], origin)?;
    let mut logits = add(graph, graph.op(head).clone(), &operands, origin)?;
    for node in behind.into_iter().rev() {
        let mut operands = graph.operands(node);
        operands[0] = logits;
        let origin = graph.origin_of(node);
        logits = add(graph, graph.op(node).clone(), &operands, origin)?;
    }
    graph.set_output(index, logits);
    Ok(true)
}

/// The product that gives logits, and what changes its elements afterwards, from the result back.
fn head(graph: &Graph, value: Value) -> Option<(NodeId, Vec<NodeId>)> {
    let mut node = value.node;
    let mut behind = Vec::new();
    loop {
        let operands = graph.operands(node);
        let constant = operands[1..].iter().all(|&v| graph.as_const(v).is_some());
        let few = operands[1..].iter().all(|&v| graph.ty(v).rank() <= 1);
        match graph.op(node) {
            Op::Matmul(attrs) if constant && !attrs.residual => {
                let rows = graph.ty(operands[0]).rank() == 3;
                return rows.then_some((node, behind));
            }
            Op::Unary(_) | Op::Cast { .. } => {}
            Op::Binary(_) if constant && few => {}
            _ => return None,
        }
        behind.push(node);
        node = operands.first()?.node;
    }
}

fn unknown(why: &str) -> Diagnostics {
    Diagnostic::unsupported(
        "logits-all",
        format!("the logits of one position cannot be taken: {why}"),
    )
    .help("compile with the logits of all positions: --logits all")
    .into()
}

#[cfg(test)]
mod tests {
    use packwright_ir::tensor::Tensor;
    use packwright_ir::{eval, text};

    use super::*;

    const SOURCE: &str = r#"graph case
  @0 : f32[4,6] "head" = synthetic normal(std=0.5, seed=1)
  @1 : f32[] = [2.0]
  %0 : f32[1,3,4] = input "x"
  %1 : f32[1,3,4] = tanh %0
  %2 : f32[1,3,6] = matmul %1, @0
  %3 : f32[1,3,6] = mul %2, @1
  output %3 "logits"
"#;

    #[test]
    fn the_row_that_is_asked_for_is_computed() {
        let whole = text::parse(SOURCE).expect("is a graph");
        let mut one = whole.clone();
        assert_eq!(run(&mut one), Ok(true));
        assert_eq!(run(&mut one), Ok(false));
        let x = Tensor::f32(&[1, 3, 4], (0..12).map(|i| i as f32 / 7.0 - 1.0).collect());
        let inputs = vec![("x".to_owned(), x)];
        let all = eval::run(&whole, &inputs).expect("has a value")[0]
            .1
            .to_le_bytes();
        for position in 0..3 {
            let mut inputs = inputs.clone();
            inputs.push((
                LOGITS_POSITION.to_owned(),
                Tensor::i64(&[1], vec![position]),
            ));
            let found = &eval::run(&one, &inputs).expect("has a value")[0].1;
            assert_eq!(found.shape(), [1, 1, 6]);
            let row = position as usize * 24;
            assert_eq!(found.to_le_bytes(), all[row..row + 24]);
        }
    }

    #[test]
    fn logits_that_no_product_gives_are_refused() {
        let source = SOURCE.replace(
            "%3 : f32[1,3,6] = mul %2, @1",
            "%3 : f32[1,3,6] = softmax %2 axis=1",
        );
        let mut graph = text::parse(&source).expect("is a graph");
        let code = run(&mut graph).map_err(|problems| problems.0[0].code);
        assert_eq!(code, Err("logits-all"));
    }
}
