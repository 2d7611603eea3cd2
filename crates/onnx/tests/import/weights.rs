//! Which initializers are weights, where their values come from, and which are the same twice.

use packwright_ir::eval;
use packwright_ir::konst::{Derivation, Fill, FillKind, Source};
use packwright_ir::tensor::{Data, Tensor, array};
use packwright_ir::{ConstId, Elem, Quant, Type};
use packwright_onnx::ImportOptions;
use packwright_onnx::proto::StringStringEntryProto;
use packwright_onnx::proto::tensor_proto::{DataLocation, DataType};

use crate::small::{Small, count, int};

/// Leaves the values of initializers out and says how to make them.
fn leave_out(small: &mut Small, rules: &[(&str, &str)]) {
    let entry = |k: &str, v: &str| StringStringEntryProto {
        key: Some(k.to_owned()),
        value: Some(v.to_owned()),
    };
    for tensor in &mut small.graph().initializer {
        tensor.raw_data = None;
        tensor.data_location = Some(DataLocation::External as i32);
        tensor.external_data = vec![entry("location", "weights.bin")];
    }
    let rules: Vec<String> = rules.iter().map(|(n, r)| format!("{n:?}: {r}")).collect();
    let text = format!("{{{}}}", rules.join(","));
    small.proto.metadata_props = vec![entry("weights.fill", &text)];
}

fn tied() -> Small {
    let table = count(&[40, 32]);
    let turned = Tensor::f32(
        &[32, 40],
        (0..32 * 40)
            .map(|i| ((i % 40) * 32 + i / 40) as f32)
            .collect(),
    );
    Small::new(17)
        .input("ids", DataType::Int64, "1,4")
        .weight("table", &table)
        .weight("head", &turned)
        .weight("again", &table)
        .node("Gather", "table,ids", "x")
        .node("MatMul", "x,head", "y")
        .node("Gather", "again,ids", "z")
        .output("y")
        .output("z")
}

fn sources(small: &Small, synthetic: Option<u64>) -> (Vec<(String, Source)>, u64) {
    let options = ImportOptions {
        synthetic,
        ..ImportOptions::default()
    };
    let graph = packwright_onnx::import(&small.model(), &options)
        .unwrap()
        .graph;
    let consts = graph
        .consts()
        .iter()
        .map(|c| (c.name.clone(), c.source.clone()))
        .collect();
    (consts, graph.facts.parameters)
}

fn transpose() -> Source {
    Source::Derived(Derivation::Transpose {
        of: ConstId(0),
        perm: vec![1, 0],
    })
}

#[test]
fn ties_are_found_by_content() {
    let (consts, parameters) = sources(&tied(), None);
    assert_eq!(parameters, 40 * 32);
    assert_eq!(consts.len(), 2);
    assert!(matches!(consts[0].1, Source::Bytes(_)));
    assert_eq!(consts[1].1, transpose());
}

#[test]
fn ties_are_found_by_rule_and_give_the_same_graph() {
    let mut small = tied();
    leave_out(
        &mut small,
        &[
            ("table", r#"{"kind": "normal", "std": 0.5}"#),
            ("head", r#"{"kind": "transpose_of", "of": "table"}"#),
            ("again", r#"{"kind": "same_as", "of": "table"}"#),
        ],
    );
    let (consts, parameters) = sources(&small, None);
    assert_eq!(parameters, 40 * 32);
    assert_eq!(consts[0], ("table".to_owned(), Source::Absent));
    assert_eq!(consts[1].1, transpose());

    let (consts, _) = sources(&small, Some(3));
    let fill = Fill {
        name: "table".to_owned(),
        seed: 3,
        kind: FillKind::Normal { std: 0.5 },
    };
    assert_eq!(consts[0].1, Source::Synthetic(fill));
    assert_eq!(consts[1].1, transpose());
}

#[test]
fn index_tables_have_values_even_where_they_are_left_out() {
    let positions = Tensor::i64(&[1, 300], (0..300).collect());
    let mut small = Small::new(17)
        .weight("positions", &positions)
        .node("Identity", "positions", "y")
        .output("y");
    let full = small.value();
    leave_out(
        &mut small,
        &[("positions", r#"{"kind": "arange", "start": 0}"#)],
    );
    assert_eq!(small.value(), full);
}

#[test]
fn a_weight_is_seen_another_way_without_a_node() {
    let small = Small::new(17)
        .input("x", DataType::Float, "2,32")
        .weight("w", &count(&[40, 32]))
        .node("Transpose", "w", "wt")
        .node("Identity", "wt", "wi")
        .node("MatMul", "x,wi", "y")
        .output("y");
    let graph = small.import().graph;
    assert_eq!(small.ops().len(), 1);
    assert_eq!(graph.consts()[1].source, transpose());
    assert_eq!(graph.facts.macs, 2 * 32 * 40);
}

#[test]
fn parameters_are_numbers_of_the_network() {
    let flags = Tensor::i64(&[2, 2], vec![0; 4]);
    let small = Small::new(17)
        .input("x", DataType::Float, "2,2")
        .weight("w", &count(&[2, 2]))
        .weight("eps", &count(&[]))
        .weight("shape", &flags)
        .node("Add", "x,w", "y")
        .output("y");
    let graph = small.import().graph;
    assert_eq!(graph.facts.parameters, 4);
    assert_eq!(graph.consts()[0].ty.elem, Elem::F32);
}

#[test]
fn a_rule_that_is_not_understood_is_an_error() {
    let mut small = tied();
    leave_out(&mut small, &[("table", r#"{"kind": "magic"}"#)]);
    insta::assert_snapshot!(small.problems(), @r#"the rule for "table" is not understood [onnx-fill-rule]"#);
}

/// Blocks of four bits with one step each: stored numbers are kept behind the floats that they stand for.
#[test]
fn numbers_of_four_bits_are_kept() {
    let bytes = |n: usize| (0..n).map(|i| (i * 37 % 256) as u8).collect();
    let packed = Tensor::plain(Data::U8(array(&[2, 2, 16], bytes(64))));
    let steps = Tensor::plain(Data::F16(array(&[4], vec![0.5, -0.25, 1.0, 2.0])));
    let blocks = vec![
        int("K", 64),
        int("N", 2),
        int("bits", 4),
        int("block_size", 32),
    ];
    let small = Small::new(17)
        .input("x", DataType::Float, "1,64")
        .weight("w", &packed)
        .weight("s", &steps)
        .node_with("com.microsoft:MatMulNBits", "x,w,s", "y", blocks)
        .output("y");
    let graph = small.import().graph;
    let konst = |name: &str| {
        let found = graph.consts().iter().position(|konst| konst.name == name);
        ConstId(found.unwrap_or_else(|| panic!("{name} is there")) as u32)
    };
    let quant = Quant::Block { axis: 0, group: 32 };
    assert_eq!(
        graph.konst(konst("w.int4")).ty,
        Type::quantized([2, 64], quant)
    );
    let floats = eval::konst::value(&graph, konst("w#2")).expect("has values");
    let scale = [0.5, -0.25, 1.0, 2.0];
    let meant = (0..128).map(|i| {
        let byte = i / 2 * 37 % 256;
        let number = if i % 2 == 0 { byte % 16 } else { byte / 16 };
        (number as f32 - 8.0) * scale[i / 32]
    });
    assert_eq!(floats, Tensor::f32(&[2, 64], meant.collect()));
}
