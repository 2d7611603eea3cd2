//! Complaints of the verifier on the guilty lines.

use bytes::Bytes;
use insta::assert_snapshot;

use super::*;
use crate::id::{ConstId, OriginId};
use crate::konst::{Const, Derivation, Fill, FillKind, Source};
use crate::op::Unary;
use crate::text;
use crate::ty::{Elem, Quant};

/// The text of a graph with its complaints.
fn drawn(graph: &Graph, stage: Stage) -> String {
    let text = text::print(graph);
    text::annotate(&text, &text::locate(&text, &verify(graph, stage)))
}

fn parsed(text: &str) -> Graph {
    text::parse(text).unwrap_or_else(|errors| panic!("{}", text::annotate(text, &errors)))
}

fn chain() -> Graph {
    parsed(
        "graph g
           %0 : f32[2,8] = input \"x\"
           %1 : f32[2,8] = relu %0
           %2 : f32[2,8] = add %0, %1
           %3 : f32[2,8] = relu %2
           output %3 \"y\"",
    )
}

#[test]
fn types_agree_with_the_rules() {
    let mut graph = chain();
    graph.set_types(NodeId(1), vec![Type::new(Elem::F16, [2, 8])]);
    graph.set_types(NodeId(2), vec![Type::new(Elem::F32, [2, 9])]);
    assert_snapshot!(drawn(&graph, Stage::Imported), @r#"
    graph g
      %0 : f32[2,8] = input "x"
      %1 : f16[2,8] = relu %0
      %2 : f32[2,9] = add %0, %1  ; error: type-mismatch
      %3 : f32[2,8] = relu %2  ; error: type-mismatch
      output %3 "y"
    "#);
    let mut graph = chain();
    graph.set_op(NodeId(3), Op::Softmax { axis: 2 });
    graph.set_types(NodeId(0), vec![]);
    graph.set_op(NodeId(1), Op::Where);
    assert_snapshot!(drawn(&graph, Stage::Imported), @r#"
    graph g
      %0 :  = input "x"
      %1 : f32[2,8] = where %0  ; error: unknown-operand
      %2 : f32[2,8] = add %0, %1  ; error: unknown-operand
      %3 : f32[2,8] = softmax %2 axis=2
      output %3 "y"
    "#);
}

#[test]
fn nothing_follows_from_itself() {
    let mut graph = chain();
    graph.set_operands(NodeId(1), &[NodeId(2).into()]);
    assert_snapshot!(drawn(&graph, Stage::Imported), @r#"
    graph g
      %0 : f32[2,8] = input "x"
      %1 : f32[2,8] = relu %2  ; error: cycle
      %2 : f32[2,8] = add %0, %1
      %3 : f32[2,8] = relu %2
      output %3 "y"
    "#);
}

#[test]
fn operands_and_outputs_exist() {
    let mut graph = chain();
    graph.set_operands(
        NodeId(2),
        &[
            NodeId(0).into(),
            Value {
                node: NodeId(1),
                slot: 1,
            },
        ],
    );
    graph.remove(NodeId(3));
    assert_snapshot!(verify(&graph, Stage::Imported), @r#"
    %2: there is no value %1.1 [unknown-operand]
    %3: there is no value %3 [unknown-operand]
    "#);
    let mut graph = chain();
    graph.remove(NodeId(1));
    assert_snapshot!(drawn(&graph, Stage::Imported), @r#"
    graph g
      %0 : f32[2,8] = input "x"
      %2 : f32[2,8] = add %0  ; error: operand-count
      %3 : f32[2,8] = relu %2
      output %3 "y"
    "#);
}

#[test]
fn a_removed_first_operand_is_noticed() {
    let mut graph = parsed(
        "graph g
           %0 : f32[2,8] = input \"x\"
           %1 : f32[2,8] = relu %0
           %2 : f32[2,8] = add %1, %0
           output %2 \"y\"",
    );
    graph.remove(NodeId(1));
    assert_snapshot!(drawn(&graph, Stage::Imported), @r#"
    graph g
      %0 : f32[2,8] = input "x"
      %2 : f32[2,8] = add %0  ; error: unknown-operand
      output %2 "y"
    "#);
}

#[test]
fn inputs_are_listed_and_names_unique() {
    let mut graph = chain();
    graph.add_input("x", Type::new(Elem::F32, [1]));
    graph.add_output("y", NodeId(1).into());
    let unlisted = Op::Input {
        name: "z".to_owned(),
    };
    graph.add(unlisted, &[], vec![Type::new(Elem::F32, [1])], OriginId(0));
    graph.set_op(NodeId(0), Op::Unary(Unary::Relu));
    assert_snapshot!(drawn(&graph, Stage::Imported), @r#"
    graph g
      %0 : f32[2,8] = relu  ; error: inputs-listed, operand-count
      %4 : f32[1] = input "x"
      %1 : f32[2,8] = relu %0  ; error: name-unique
      %2 : f32[2,8] = add %0, %1
      %3 : f32[2,8] = relu %2
      %5 : f32[1] = input "z"  ; error: inputs-listed
      output %3 "y"
      output %1 "y"
    "#);
}

#[test]
fn constants_fit_their_types() {
    let mut graph = Graph::new("g");
    let mut add = |ty: Type, source: Source| {
        graph.add_const(Const {
            name: String::new(),
            ty,
            source,
        });
    };
    let of = ConstId(0);
    let f32s = |shape: &[usize]| Type::new(Elem::F32, shape);
    let channel = |axis| Type::quantized([2, 4], Quant::Channel { axis });
    let fill = |kind| {
        Source::Synthetic(Fill {
            name: String::new(),
            seed: 0,
            kind,
        })
    };
    add(f32s(&[2, 4]), Source::Absent);
    add(f32s(&[2]), Source::Bytes(Bytes::from_static(b"1234567")));
    add(channel(0), Source::Bytes(Bytes::from_static(b"12345678")));
    add(channel(2), Source::Absent);
    add(f32s(&[2]), fill(FillKind::Normal { std: -1.0 }));
    add(f32s(&[2]), fill(FillKind::UniformInt { low: 1, high: 0 }));
    add(
        f32s(&[2, 4]),
        Source::Derived(Derivation::Transpose {
            of,
            perm: vec![1, 0],
        }),
    );
    add(f32s(&[9]), Source::Derived(Derivation::Reshape { of }));
    add(
        f32s(&[4, 4]),
        Source::Derived(Derivation::Concat {
            of: vec![of; 3],
            axis: 0,
        }),
    );
    add(
        f32s(&[4, 4]),
        Source::Derived(Derivation::Concat {
            of: vec![],
            axis: 0,
        }),
    );
    add(f32s(&[2, 4]), Source::Derived(Derivation::Quantize { of }));
    add(
        channel(1),
        Source::Derived(Derivation::Scale {
            of: ConstId(3),
            factor: 1.0,
        }),
    );
    add(
        f32s(&[2, 4]),
        Source::Derived(Derivation::Scale {
            of,
            factor: f32::INFINITY,
        }),
    );
    // Two factors for four columns.
    add(
        f32s(&[2, 4]),
        Source::Derived(Derivation::ScaleEach {
            of: [of, of],
            axis: 1,
        }),
    );
    add(
        f32s(&[2, 4]),
        Source::Derived(Derivation::Reshape { of: ConstId(99) }),
    );
    add(
        f32s(&[2, 4]),
        Source::Derived(Derivation::Reshape { of: ConstId(15) }),
    );
    add(channel(1), Source::Derived(Derivation::Quantize { of }));
    assert_snapshot!(drawn(&graph, Stage::Imported), @r#"
    graph g
      @0 : f32[2,4] "" = absent
      @1 : f32[2] "" = bytes "31323334353637"  ; error: const-bytes
      @2 : i8[2,4] channel(0) "" = [49, 50, 51, 52, 53, 54, 55, 56]  ; error: const-scales
      @3 : i8[2,4] channel(2) "" = absent  ; error: quant-fits
      @4 : f32[2] "" = synthetic normal(std=-1.0, seed=0)  ; error: attribute-range
      @5 : f32[2] "" = synthetic uniform_int(low=1, high=0, seed=0)  ; error: attribute-range
      @6 : f32[2,4] "" = transpose @0 perm=[1,0]  ; error: type-mismatch
      @7 : f32[9] "" = reshape @0  ; error: element-count-kept
      @8 : f32[4,4] "" = concat @0, @0, @0 axis=0  ; error: type-mismatch
      @9 : f32[4,4] "" = concat axis=0  ; error: operand-count
      @10 : f32[2,4] "" = quantize @0  ; error: quant-fits
      @11 : i8[2,4] channel(1) "" = scale @3 factor=1.0  ; error: operand-is-float
      @12 : f32[2,4] "" = scale @0 factor=inf  ; error: attribute-range
      @13 : f32[2,4] "" = scale_each @0, @0 axis=1  ; error: axes-differ
      @14 : f32[2,4] "" = reshape @99  ; error: unknown-operand
      @15 : f32[2,4] "" = reshape @15  ; error: cycle
      @16 : i8[2,4] channel(1) "" = quantize @0
    "#);
}

#[test]
fn stages_add_laws() {
    let graph = parsed(
        r#"graph g
             @0 : f32[64,64]
             @1 : i8[64,64] channel(1) = quantize @0
             @2 : f32[64,2]
             @3 : f32[9,8]
             %0 : f32[8,64] = input "x"
             %1 : i64[4] = input "ids"
             %2 : f32[8,64] = matmul %0, @0
             %3 : i8[8,64] row(64) = quantize %0 row(64)
             %4 : f32[8,64] = matmul %3, @1
             %5 : f32[8,2] = matmul %0, @2
             %6 : f32[8,64] = trilu %4 upper k=0
             %7 : f64[8,64] = cast %6 to=f64
             %8 : f32[4,8] = gather @3, %1 axis=0
             %9 : f32[9,4] = gather @3, %1 axis=1
             %10 : f32[8,64] = relu %2
             output %5 "a"
             output %7 "b"
             output %8 "c"
             output %9 "d""#,
    );
    assert!(verify(&graph, Stage::Imported).0.is_empty());
    assert_snapshot!(verify(&graph, Stage::Fused), @"%10: nobody reads it [no-dead-nodes]");
    assert_snapshot!(verify(&graph, Stage::Quantized), @r#"
    %2: reads the constant f32[64,64] as floats [weights-quantized]
    %10: nobody reads it [no-dead-nodes]
    "#);
    assert_snapshot!(drawn(&graph, Stage::Legal), @r#"
    graph g
      @0 : f32[64,64] = absent
      @1 : i8[64,64] channel(1) = quantize @0
      @2 : f32[64,2] = absent
      @3 : f32[9,8] = absent
      %0 : f32[8,64] = input "x"
      %1 : i64[4] = input "ids"
      %2 : f32[8,64] = matmul %0, @0  ; error: weights-quantized
      %3 : i8[8,64] row(64) = quantize %0 row(64)
      %4 : f32[8,64] = matmul %3, @1
      %5 : f32[8,2] = matmul %0, @2
      %6 : f32[8,64] = trilu %4 upper k=0  ; error: operator-legal
      %7 : f64[8,64] = cast %6 to=f64  ; error: element-legal
      %8 : f32[4,8] = gather @3, %1 axis=0
      %9 : f32[9,4] = gather @3, %1 axis=1  ; error: gather-legal
      %10 : f32[8,64] = relu %2  ; error: no-dead-nodes
      output %5 "a"
      output %7 "b"
      output %8 "c"
      output %9 "d"
    "#);
}
