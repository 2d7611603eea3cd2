//! Small graphs with results that can be checked by hand, and laws that tie operators together.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::arbitrary;
use crate::konst::FillKind;
use crate::text;

/// Evaluates a text on inputs from a seed, and prints the results.
fn results(source: &str) -> String {
    let graph = text::parse(source).unwrap_or_else(|e| panic!("{}", text::annotate(source, &e)));
    match run(&graph, &random_inputs(&graph, 1)) {
        Ok(outputs) => outputs
            .iter()
            .map(|(name, t)| format!("{name} {}\n", show(t)))
            .collect(),
        Err(error) => format!("{error} [{}]", error.code()),
    }
}

fn show(t: &Tensor) -> String {
    let values = match lanes::of(t) {
        lanes::Lanes::F32(v) => format!("{v:?}"),
        lanes::Lanes::F64(v) => format!("{v:?}"),
        lanes::Lanes::Int(v) => format!("{v:?}"),
        lanes::Lanes::Bool(v) => format!("{v:?}"),
    };
    let scales = if t.scales.is_empty() {
        String::new()
    } else {
        format!(" × {:?}", t.scales)
    };
    format!("{} {values}{scales}", t.ty())
}

fn tensor(source: &str, name: &str) -> Tensor {
    let graph = text::parse(source).expect("the text is a graph");
    let outputs = run(&graph, &random_inputs(&graph, 3)).expect("the graph has a value");
    outputs
        .into_iter()
        .find(|(n, _)| n == name)
        .expect("the output exists")
        .1
}

#[test]
fn synthetic_values_have_the_bits_of_the_reference_generator() {
    let draw = |kind| {
        let stream = fill::Stream::new("encoder.layer.0.weight", 7, kind, &[6]);
        (0..6)
            .map(|i| stream.float(i).to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        draw(FillKind::Normal { std: 0.02 }),
        [
            0xbc84_be8f,
            0x3cb1_8faa,
            0x3d0b_b59a,
            0xbc70_717c,
            0x3c9a_81f2,
            0x3c73_7971
        ]
    );
    assert_eq!(
        draw(FillKind::Uniform {
            low: -1.0,
            high: 2.0
        }),
        [
            0x3eb8_1a5a,
            0x3f21_a7ae,
            0x3f9f_1436,
            0x3ef3_b7a7,
            0x3e48_449d,
            0x3fd9_39e0
        ]
    );
    let stream = fill::Stream::new(
        "encoder.layer.0.weight",
        7,
        FillKind::UniformInt {
            low: -128,
            high: 127,
        },
        &[6],
    );
    assert_eq!(
        (0..6).map(|i| stream.integer(i)).collect::<Vec<_>>(),
        [-9, -42, -9, -110, -54, -21]
    );
}

#[test]
fn movement_keeps_elements() {
    assert_snapshot!(results(r#"graph moves
  @0 : i64[2,3] = [1, 2, 3, 4, 5, 6]
  %0 : i64[3,2] = transpose @0 perm=[1,0]
  %1 : i64[2,2] = slice @0 start=[0,2] count=[2,2] step=[1,-2]
  %2 : i64[4,3] = concat @0, @0 axis=0
  %3 : i64[2,2,3] = expand @0
  %4 : i64[3,4] = pad @0 before=[1,0] after=[0,1] value=7.0
  %5 : i64[2,3] = cum_sum @0 axis=1
  %6 : i64[2,3] = trilu @0 upper k=1
  output %0 "transposed"
  output %1 "sliced"
  output %2 "joined"
  output %3 "expanded"
  output %4 "padded"
  output %5 "sums"
  output %6 "triangle"
"#), @r#"
    transposed i64[3,2] [1, 4, 2, 5, 3, 6]
    sliced i64[2,2] [3, 1, 6, 4]
    joined i64[4,3] [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
    expanded i64[2,2,3] [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
    padded i64[3,4] [7, 7, 7, 7, 1, 2, 3, 7, 4, 5, 6, 7]
    sums i64[2,3] [1, 3, 6, 4, 9, 15]
    triangle i64[2,3] [0, 2, 3, 0, 0, 6]
    "#);
}

#[test]
fn indices_pick_write_and_order() {
    assert_snapshot!(results(r#"graph indices
  @0 : f32[3,2] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
  @1 : i64[2] = [2, -3]
  @2 : i64[1,2] = [1, 0]
  @3 : f32[1,2] = [9.0, 8.0]
  @4 : i64[1,1] = [1]
  @5 : f32[5] = [1.0, 4.0, 4.0, 0.0, 4.0]
  %0 : f32[2,2] = gather @0, @1 axis=0
  %1 : f32[1,2] = gather_elements @0, @2 axis=0
  %2 : f32[3,2] = scatter_elements @0, @2, @3 axis=0
  %3 : f32[3,2] = scatter_nd @0, @4, @3
  %4 : f32[3], i64[3] = top_k @5 axis=0 count=3 largest
  %5 : i64[1] = arg_max @5 axis=0 keep
  output %0 "rows"
  output %1 "elements"
  output %2 "written"
  output %3 "slices"
  output %4 "top"
  output %4.1 "places"
  output %5 "first"
"#), @r#"
    rows f32[2,2] [5.0, 6.0, 1.0, 2.0]
    elements f32[1,2] [3.0, 2.0]
    written f32[3,2] [1.0, 8.0, 9.0, 4.0, 5.0, 6.0]
    slices f32[3,2] [1.0, 2.0, 9.0, 8.0, 5.0, 6.0]
    top f32[3] [4.0, 4.0, 4.0]
    places i64[3] [1, 2, 4]
    first i64[1] [1]
    "#);
}

#[test]
fn int8_follows_the_page_of_arithmetic() {
    assert_snapshot!(results(r#"graph int8
  @0 : f32[2,4] = [1.0, -2.0, 3.0, 4.0, 0.5, 0.25, 0.0, -0.125]
  @1 : f32[4,2] = [1.0, 0.5, -1.0, 0.25, 0.5, 2.0, 0.125, -4.0]
  @2 : i8[4,2] channel(1) = quantize @1
  @3 : f32[2] = [10.0, 20.0]
  %0 : i8[2,4] row(4) = quantize @0 row(4)
  %1 : i8[2,4] row(2) = quantize @0 row(2)
  %2 : i8[2,4] scale(0.03125) = quantize @0 scale(0.03125)
  %3 : f32[2,2] = matmul %0, @2, @3 bias
  %4 : f32[2,2] = matmul %1, @2, @3 bias
  %5 : f16[2,2] = matmul %2, @2, @3 bias out=f16
  %6 : f32[2,2] = matmul @0, @1, @3 bias
  %7 : f32[2,4] = dequantize %1 to=f32
  output %0 "rows"
  output %1 "groups"
  output %2 "fixed"
  output %3 "by_row"
  output %4 "by_group"
  output %5 "by_tensor"
  output %6 "floats"
  output %7 "back"
"#), @r#"
    rows i8[2,4] row(4) [32, -64, 95, 127, 127, 64, 0, -32] × [0.031496063, 0.003937008]
    groups i8[2,4] row(2) [64, -127, 95, 127, 127, 64, 0, -127] × [0.015748031, 0.031496063, 0.003937008, 0.000984252]
    fixed i8[2,4] scale(0.03125) [32, -64, 96, 127, 16, 8, 0, -4]
    by_row f32[2,2] [15.035402, 10.031372, 10.23216, 20.819393]
    by_group f32[2,2] [15.019654, 10.03534, 10.232284, 20.815456]
    by_tensor f16[2,2] [15.015625, 10.171875, 10.234375, 20.8125]
    floats f32[2,2] [15.0, 10.0, 10.234375, 20.8125]
    back f32[2,4] [1.007874, -2.0, 2.992126, 4.0, 0.5, 0.2519685, 0.0, -0.125]
    "#);
}

#[test]
fn attention_in_int8_stays_close_to_floats() {
    let graph = |kind: &str| {
        format!(
            r#"graph attention
  %0 : f32[2,5,8] = input "q"
  %1 : f32[2,7,8] = input "k"
  %2 : f32[2,7,8] = input "v"
  %3 : f32[2,1,1,7] = input "mask"
  {kind}
  output %9 "y"
"#
        )
    };
    let floats = graph("%9 : f32[2,5,8] = attention %0, %1, %2, %3 heads=2 scale=0.5 causal mask");
    let int8 = graph(
        "%4 : i8[2,5,8] row(4) = quantize %0 row(4)
  %5 : i8[2,7,8] row(4) = quantize %1 row(4)
  %6 : i8[2,7,8] row(4) = quantize %2 row(4)
  %9 : f32[2,5,8] = attention %4, %5, %6, %3 heads=2 scale=0.5 causal mask",
    );
    let (a, b) = (tensor(&floats, "y"), tensor(&int8, "y"));
    assert!(
        compare::cosine(&a, &b) > 0.9995,
        "{}",
        compare::cosine(&a, &b)
    );
    assert!(
        compare::max_rel(&a, &b) < 0.03,
        "{}",
        compare::max_rel(&a, &b)
    );
}

#[test]
fn grouped_heads_are_repeated_heads() {
    let graph = |k: &str, heads: usize| {
        format!(
            r#"graph heads
  %0 : f32[1,3,8] = input "q"
  %1 : f32[1,3,4] = input "k"
  {k}
  %9 : f32[1,3,8] = attention %0, %8, %8 heads=4 kv_heads={heads} scale=1.0
  output %9 "y"
"#
        )
    };
    let grouped = graph("%8 : f32[1,3,4] = reshape %1", 2);
    let repeated = graph(
        "%2 : f32[1,3,2,1,2] = reshape %1
  %3 : f32[1,3,2,2,2] = expand %2
  %8 : f32[1,3,8] = reshape %3",
        4,
    );
    assert_eq!(tensor(&grouped, "y"), tensor(&repeated, "y"));
}

#[test]
fn channels_are_the_same_whole_or_in_part() {
    let source = r#"graph channels
  @0 : f32[6,10] = synthetic normal(std=0.5, seed=1)
  @1 : f32[10,6] = transpose @0 perm=[1,0]
  @2 : f32[10,4] = synthetic uniform(low=-1.0, high=1.0, seed=1)
  @3 : f32[10,10] = concat @1, @2 axis=1
  @4 : f32[20,10] = concat @3, @3 axis=0
  @5 : f32[20,10] = scale @4 factor=0.25
  @6 : i8[20,10] channel(1) = quantize @5
  %0 : f32[1,20] = input "x"
  %1 : i8[1,20] row(20) = quantize %0 row(20)
  %2 : f32[1,10] = matmul %1, @6
  output %2 "y"
"#;
    let graph = text::parse(source).unwrap_or_else(|e| panic!("{}", text::annotate(source, &e)));
    let id = (0..graph.consts().len() as u32)
        .map(crate::ConstId)
        .find(|&id| graph.konst(id).ty.quant.is_some())
        .expect("one constant is quantised");
    let whole = konst::value(&graph, id).expect("it has values");
    let channels = movement::transpose(&whole, &[1, 0]);
    let crate::tensor::Data::I8(q) = &channels.data else {
        panic!("it is i8")
    };
    let q: Vec<i8> = q.iter().copied().collect();
    for range in [0..10, 0..3, 5..8, 9..10] {
        let (part, scales) = konst::quantized_channels(&graph, id, range.clone()).expect("in part");
        assert_eq!(part, q[range.start * 20..range.end * 20]);
        assert_eq!(scales, whole.scales[range]);
    }
}

#[test]
fn what_has_no_value_says_why() {
    let complaint = |body: &str| results(&format!("graph complaint\n{body}"));
    assert_snapshot!([
        complaint("  @0 : f32[2] \"w\" = absent\n  %0 : f32[2] = neg @0\n  output %0 \"y\"\n"),
        complaint("  @0 : i64[1] = [1]\n  @1 : i64[1] = [0]\n  %0 : i64[1] = div @0, @1\n  output %0 \"y\"\n"),
        complaint("  @0 : i64[2] = [1, 2]\n  @1 : i64[1] = [2]\n  %0 : i64[1] = gather @0, @1 axis=0\n  output %0 \"y\"\n"),
    ].join("\n"), @r#"
    %0: constant `w` has no values [weights-absent]
    %0: an integer is divided by zero [division-by-zero]
    %0: index 2 is outside an axis of length 2 [index-out-of-range]
    "#);
}

proptest! {
    /// Whatever a graph is, it has values of the declared types or a reason why not.
    #[test]
    fn every_graph_has_values_or_a_reason(graph in arbitrary::graph()) {
        let inputs = random_inputs(&graph, 5);
        let mut checked = Ok(());
        let done = run_with(&graph, &inputs, &mut |value, tensor| {
            if tensor.ty() != *graph.ty(value) {
                checked = Err(format!("{value} is {}, declared {}", tensor.ty(), graph.ty(value)));
            }
        });
        prop_assert!(checked.is_ok(), "{checked:?}\n{}", text::print(&graph));
        if let Err(error) = done {
            prop_assert!(!error.code().is_empty());
        }
    }
}
