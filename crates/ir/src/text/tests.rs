//! Round trips, complaints on their lines, and what people may write.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::arbitrary;
use crate::id::{NodeId, Value};
use crate::op::Op;
use crate::order;
use crate::verify::{Stage, verify};

/// All that a graph is, in the ids of its text.
fn contents(graph: &Graph) -> String {
    let name = |value: Value| match graph.as_const(value) {
        Some(id) => id.to_string(),
        None => value.to_string(),
    };
    let node = |node: NodeId| {
        let operands: Vec<String> = graph.operands(node).into_iter().map(name).collect();
        let origin = graph.origin(graph.origin_of(node));
        format!(
            "{node} {:?} {:?} {operands:?} {origin:?}",
            graph.op(node),
            graph.types(node)
        )
    };
    let nodes = graph
        .node_ids()
        .into_iter()
        .filter(|&n| !matches!(graph.op(n), Op::Const(_)));
    let nodes: Vec<String> = nodes.map(node).collect();
    let outputs: Vec<String> = graph
        .outputs()
        .iter()
        .map(|o| format!("{} {:?}", name(o.value), o.name))
        .collect();
    format!(
        "{:?} {:?} {:#?} {nodes:#?} {:?} {outputs:?}",
        graph.name,
        graph.facts,
        graph.consts(),
        graph.inputs(),
    )
}

fn reparsed(text: &str) -> Graph {
    parse(text).unwrap_or_else(|errors| panic!("{}", annotate(text, &errors)))
}

/// The text with its complaints.
fn complaints(text: &str) -> String {
    match parse(text) {
        Ok(_) => "no complaints".to_owned(),
        Err(errors) => annotate(text, &errors),
    }
}

proptest! {
    #[test]
    fn graphs_survive_their_text(graph in arbitrary::graph()) {
        let text = print_full(&graph);
        let back = reparsed(&text);
        prop_assert_eq!(print_full(&back), text);
        prop_assert_eq!(contents(&back), contents(&graph));
        let text = print(&graph);
        prop_assert_eq!(print(&reparsed(&text)), text);
    }

    #[test]
    fn arbitrary_graphs_are_valid(graph in arbitrary::graph()) {
        let complaints = verify(&graph, Stage::Imported);
        prop_assert!(complaints.0.is_empty(), "{}\n{complaints}", print(&graph));
    }

    #[test]
    fn graphs_without_data_have_the_text_without_data(graph in arbitrary::graph()) {
        let options = Options { data: false, provenance: true };
        let text = print_with(&graph, &options);
        let back = reparsed(&text);
        prop_assert_eq!(order::topological(&back), order::topological(&graph));
        prop_assert_eq!(back.facts, graph.facts);
    }

    #[test]
    fn damaged_texts_give_complaints(
        graph in arbitrary::graph(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..6, any::<u32>()), 1..8),
    ) {
        let mut text: Vec<char> = print_full(&graph).chars().collect();
        for (at, kind, salt) in edits {
            damage(&mut text, at, kind, salt);
        }
        let text: String = text.into_iter().collect();
        match parse(&text) {
            Ok(graph) => {
                prop_assert!(verify(&graph, Stage::Imported).0.is_empty());
                prop_assert_eq!(contents(&reparsed(&print_full(&graph))), contents(&graph));
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                let marked = annotate(&text, &errors);
                prop_assert_eq!(annotate(&marked, &errors), marked);
            }
        }
    }

    #[test]
    fn noise_gives_complaints(text in "[ -~\n%@;\"é\\[\\]=:,.()0-9a-z]{0,200}") {
        prop_assert!(parse(&text).is_err() || text.contains("graph"));
    }
}

/// One edit of a text: characters or lines come, go or change places.
fn damage(text: &mut Vec<char>, at: prop::sample::Index, kind: usize, salt: u32) {
    const PIECES: [&str; 12] = [
        "%1",
        "@0",
        "=",
        "[",
        "]",
        ",",
        "999999999999999999999",
        "-1",
        " ",
        "\n",
        "\"",
        "row(0)",
    ];
    if text.is_empty() {
        return;
    }
    let at = at.index(text.len());
    let salt = salt as usize;
    match kind {
        0 => drop(text.remove(at)),
        1 => text[at] = char::from(b' ' + (salt % 95) as u8),
        2 => {
            let piece = PIECES[salt % PIECES.len()].chars();
            text.splice(at..at, piece);
        }
        3 => text.truncate(at),
        4 => {
            let other = salt % text.len();
            text.swap(at, other);
        }
        _ => {
            let end = (at + salt % 40).min(text.len());
            let copy: Vec<char> = text[at..end].to_vec();
            text.splice(at..at, copy);
        }
    }
}

#[test]
fn written_text_prints_in_full() {
    let text = r#"
;; why: everything that a text can say
graph "mini lm"
  @0 : f32[16,32] "encoder.weight"          ; nothing more: absent
  @1 : f32[4] = [1, -2.5, inf, nan]
  @2 : f32[16,32] "w" = synthetic normal(std=0.02, seed=0)
  @3 : i8[16,32] channel(1) = quantize @0
  @4 : f16[2] = [0.1, 65504]
  @5 : bool[2] = [true, false]
  @6 : i8[3] scale(0.5) = [1, -2, 3]
  @7 : f32[32,16] = transpose @0 perm=[1,0]
  @8 : f32[32,32] = concat @0, @2 axis=0
  @9 : f32[16,32] = scale @2 factor=0.125
  @10 : f32[4,4] = scale_each @11, @1 axis=1
  @11 : f32[4,4] = absent
  %0 : f32[8,16] = input "x"
  %1 : f32[8,32] = matmul %0, @0
  %2 : f16[8,32] = relu %1 from "encoder.layer.0" ["/enc/relu", "b"]
  %4 : f32[4,64] = reshape %2
  %5 : f32[4,2], i64[4,2] = top_k %4 axis=1 count=2 largest
  %7 : i8[8,16] row(8) = quantize %0 row(8)
  %8 : f16[8,32] = matmul %7, @3 alpha=0.5 activation=gelu_erf out=f16
  %9 : f32[8] = reduce_mean %8 axes=[1]
  output %5 "values"
  output %5.1 "places"
  output @1 "stored"
  facts parameters=512 macs=4096 binding(batch_size=1, "odd name"=8)
"#;
    // The reshape keeps the width of its operand; the text above says otherwise.
    assert_eq!(parse(text).unwrap_err()[0].code, "type-mismatch");
    let text = text
        .replace("%4 : f32", "%4 : f16")
        .replace("%5 : f32", "%5 : f16");
    assert_snapshot!(print_full(&reparsed(&text)), @r#"
    graph "mini lm"
      @0 : f32[16,32] "encoder.weight" = absent
      @1 : f32[4] = [1.0, -2.5, inf, NaN]
      @2 : f32[16,32] "w" = synthetic normal(std=0.02, seed=0)
      @3 : i8[16,32] channel(1) = quantize @0
      @4 : f16[2] = [0.099975586, 65504.0]
      @5 : bool[2] = [true, false]
      @6 : i8[3] scale(0.5) = [1, -2, 3]
      @7 : f32[32,16] = transpose @0 perm=[1,0]
      @8 : f32[32,32] = concat @0, @2 axis=0
      @9 : f32[16,32] = scale @2 factor=0.125
      @10 : f32[4,4] = scale_each @11, @1 axis=1
      @11 : f32[4,4] = absent
      %0 : f32[8,16] = input "x"
      %1 : f32[8,32] = matmul %0, @0
      %2 : f16[8,32] = relu %1 from "encoder.layer.0" ["/enc/relu", "b"]
      %4 : f16[4,64] = reshape %2
      %5 : f16[4,2], i64[4,2] = top_k %4 axis=1 count=2 largest
      %7 : i8[8,16] row(8) = quantize %0 row(8)
      %8 : f16[8,32] = matmul %7, @3 alpha=0.5 activation=gelu_erf out=f16
      %9 : f32[8] = reduce_mean %8 axes=[1]
      output %5 "values"
      output %5.1 "places"
      output @1 "stored"
      facts parameters=512 macs=4096 binding(batch_size=1, "odd name"=8)
    "#);
    assert_snapshot!(print(&reparsed(&text)).lines().last().unwrap(), @r#"  output @1 "stored""#);
}

#[test]
fn large_data_is_hexadecimal_or_left_out() {
    let values: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    let text = format!(
        "graph g\n  @0 : u8[65] = [{}]\n  @1 : u8[1] = bytes \"0A\"\n",
        values.join(",")
    );
    let graph = reparsed(&text);
    assert_snapshot!(print(&graph), @r#"
    graph g
      @0 : u8[65] = bytes "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40"
      @1 : u8[1] = [10]
    "#);
    let options = Options {
        data: false,
        ..Options::default()
    };
    assert_snapshot!(print_with(&graph, &options), @r#"
    graph g
      @0 : u8[65] = absent ; 65 bytes
      @1 : u8[1] = [10]
    "#);
}

#[test]
fn odd_bits_survive() {
    let text =
        "graph g\n  @0 : f32[2] = bytes \"010080ff000000c0\"\n  @1 : bool[1] = bytes \"02\"\n";
    assert_eq!(print(&reparsed(text)), text);
}

#[test]
fn every_complaint_stands_on_its_line() {
    assert_snapshot!(complaints(r#"graph g
  @0 : f32[16,32]
  @1 : f32[4] = [1, 2]
  @2 : i8[4] = [1, 2, 3, 400]
  @3 : f32[16,31] = transpose @0 perm=[1,0]
  @4 : f32[4] = transpose @77 perm=[0]
  @0 : f32[2]
  %0 : f32[8,16] = input "x"
  %1 : f32[8,32] = matmul %0, %0
  %2 : f32[8,31] = matmul %0, @0
  %3 : f32[8,32] = relu %2, %2
  %4 : f32[8,31] = relu %9
  %5 : f32[8,31] = relu %2.1
  %6 : f32[8,31] = relu %7
  %7 : f32[8,31] = relu %2
  %8 : f32[8,16] = rleu %0
  %10 : f32[8,31] = softmax %2
  %11 : f32[8,31] = softmax %2 axis=1 axis=1
  %12 : f32[8,31] = softmax %2 axis=[1]
  %13 : f32[8,31] row(3) = relu %2
  %14 : f32[8,31 = relu %2
  %15 : f32[8,31] = relu %14
  %16 : f32[8,16] = input "x"
  %7 : f32[8,31] = relu %2
  %17 : f32[99999999999,99999999999] = input "y"
  what is this?
  graph h
  output %99 "y"
  output %2 "z"
  output %1 "z"
"#), @r#"
    graph g
      @0 : f32[16,32]
      @1 : f32[4] = [1, 2]  ; error: const-bytes
      @2 : i8[4] = [1, 2, 3, 400]  ; error: attribute-value
      @3 : f32[16,31] = transpose @0 perm=[1,0]  ; error: type-mismatch
      @4 : f32[4] = transpose @77 perm=[0]  ; error: unknown-operand
      @0 : f32[2]  ; error: id-unique
      %0 : f32[8,16] = input "x"
      %1 : f32[8,32] = matmul %0, %0  ; error: inner-dims-agree
      %2 : f32[8,31] = matmul %0, @0  ; error: type-mismatch
      %3 : f32[8,32] = relu %2, %2  ; error: operand-count
      %4 : f32[8,31] = relu %9  ; error: unknown-operand
      %5 : f32[8,31] = relu %2.1  ; error: unknown-operand
      %6 : f32[8,31] = relu %7  ; error: defined-before-use
      %7 : f32[8,31] = relu %2
      %8 : f32[8,16] = rleu %0  ; error: unknown-operator
      %10 : f32[8,31] = softmax %2  ; error: missing-attribute
      %11 : f32[8,31] = softmax %2 axis=1 axis=1  ; error: unknown-attribute
      %12 : f32[8,31] = softmax %2 axis=[1]  ; error: attribute-value
      %13 : f32[8,31] row(3) = relu %2  ; error: quant-fits
      %14 : f32[8,31 = relu %2  ; error: syntax
      %15 : f32[8,31] = relu %14
      %16 : f32[8,16] = input "x"  ; error: name-unique
      %7 : f32[8,31] = relu %2  ; error: id-unique
      %17 : f32[99999999999,99999999999] = input "y"  ; error: size-limit
      what is this?  ; error: syntax
      graph h  ; error: one-graph
      output %99 "y"  ; error: unknown-operand
      output %2 "z"
      output %1 "z"  ; error: name-unique
    "#);
}

#[test]
fn a_text_starts_with_a_graph() {
    assert_eq!(
        parse("").unwrap_err()[0].to_string(),
        "1:1: there is no graph [one-graph]"
    );
    let errors = parse("\n%0 : f32[1] = input \"x\"").unwrap_err();
    assert_eq!((errors[0].line, errors[0].code), (2, "one-graph"));
}

#[test]
fn complaints_come_with_columns() {
    let errors =
        parse("graph g\n  %0 : f32[2] = input \"é\"\n  %1 : f32[2] = add %0, %5").unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "3:25: there is no value %5 [unknown-operand]"
    );
}

#[test]
fn annotations_replace_those_before() {
    let error = |line, code| ParseError {
        line,
        column: 1,
        code,
        message: String::new(),
    };
    let text = "graph g  ; why\n  a     ; error: cycle\n  b  ; error: rank\n";
    let marked = annotate(
        text,
        &[error(1, "syntax"), error(2, "cycle"), error(1, "syntax")],
    );
    assert_eq!(
        marked,
        "graph g  ; why  ; error: syntax\n  a     ; error: cycle\n  b\n"
    );
}

#[test]
fn ids_stay_where_they_are_close() {
    let text = "graph g
  %7 : f32[2] = input \"b\"
  %3 : f32[2] = input \"a\"
  %9 : f32[2] = add %7, %3
  %1 : f32[2] = relu %9
  output %1 \"y\"
";
    let graph = reparsed(text);
    assert_eq!(graph.inputs(), [NodeId(7), NodeId(3)]);
    assert_eq!(print(&graph), text);
    let far = text.replace("%9", "%4000000000");
    assert_eq!(reparsed(&far).inputs(), [NodeId(0), NodeId(1)]);
}

#[test]
fn graphs_that_no_parser_takes_can_be_printed() {
    let mut graph =
        reparsed("graph g\n %0 : f32[2] = input \"x\"\n %1 : f32[2] = relu %0\n output %1 \"y\"");
    graph.set_operands(NodeId(1), &[NodeId(1).into()]);
    graph.add_output("z", NodeId(9).into());
    assert_snapshot!(print(&graph), @r#"
    graph g
      %0 : f32[2] = input "x"
      %1 : f32[2] = relu %1
      output %1 "y"
      output %9 "z"
    "#);
}
