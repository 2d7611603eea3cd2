//! Files that are no models, and models that ask for more than there is: a message, never a panic.

use bytes::Bytes;
use packwright_ir::tensor::Tensor;
use packwright_onnx::proto::tensor_proto::DataType;
use packwright_onnx::{ImportOptions, Model};

use crate::small::{Small, int};

fn code(bytes: impl Into<Bytes>) -> String {
    let error = Model::from_bytes(bytes.into(), None).unwrap_err();
    error.0.iter().map(|d| d.code).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_no_model_is_told_apart() {
    assert_eq!(code(vec![]), "onnx-empty");
    assert_eq!(
        code(&b"version https://git-lfs.github.com/spec/v1\noid sha256:00"[..]),
        "onnx-not-onnx"
    );
    assert_eq!(code(&b"<!DOCTYPE html><html></html>"[..]), "onnx-not-onnx");
    assert_eq!(code(vec![0xff; 64]), "onnx-not-onnx");
    let help = |bytes: &'static [u8]| {
        Model::from_bytes(Bytes::from_static(bytes), None)
            .unwrap_err()
            .0
            .remove(0)
            .help
    };
    assert!(
        help(b"version https://git-lfs")
            .unwrap()
            .contains("git lfs pull")
    );
    assert!(
        help(b"PK\x03\x04archive")
            .unwrap()
            .contains("torch.onnx.export")
    );
}

#[test]
fn versions_outside_the_range_are_refused_together() {
    let mut small = Small::new(9);
    small.proto.ir_version = Some(99);
    let error = Model::from_bytes(small.bytes(), None).unwrap_err();
    insta::assert_snapshot!(error, @r"
    format version 99 is not supported, only 3 to 13 [onnx-ir-version]
    operator set 9 is not supported, only 11 to 23 [onnx-opset]
    ");
    small.proto.graph = None;
    assert_eq!(code(small.bytes()), "onnx-no-graph");
}

#[test]
fn impossible_shapes_are_refused() {
    let small = Small::new(17)
        .input("x", DataType::Float, "4294967296,4294967296,2")
        .node("Identity", "x", "y")
        .output("y");
    let error = packwright_onnx::import(&small.model(), &ImportOptions::default()).unwrap_err();
    insta::assert_snapshot!(error, @r#""x" has the impossible shape [4294967296, 4294967296, 2] [onnx-shape]"#);
}

/// A model of one node over numbers that are known.
fn bomb(op: &str, operands: &[Tensor]) -> String {
    let names: Vec<String> = (0..operands.len()).map(|i| format!("c{i}")).collect();
    let mut small = Small::new(17);
    for (name, tensor) in names.iter().zip(operands) {
        small = small.weight(name, tensor);
    }
    small.node(op, &names.join(","), "y").output("y").problems()
}

#[test]
fn values_that_no_machine_holds_are_refused() {
    let many = 1i64 << 40;
    let numbers = |list: &[i64]| Tensor::i64(&[list.len()], list.to_vec());
    let one = Tensor::f32(&[1], vec![1.0]);
    let n = |value: i64| Tensor::i64(&[], vec![value]);
    let found = [
        bomb("ConstantOfShape", &[numbers(&[many])]),
        bomb("Expand", &[one.clone(), numbers(&[1 << 20, 1 << 20])]),
        bomb("Tile", &[one.clone(), numbers(&[many])]),
        bomb("Range", &[n(0), n(many), n(1)]),
        bomb("Pad", &[one.clone(), numbers(&[many, 0])]),
        bomb("Reshape", &[one, numbers(&[many, i64::MAX, 4])]),
        bomb(
            "OneHot",
            &[numbers(&[1]), n(many), Tensor::f32(&[2], vec![0.0, 1.0])],
        ),
    ];
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn long_chains_of_tables_are_no_deep_recursion() {
    let column = |n: i64| Tensor::i64(&[256, 1], (0..256).map(|i| i * n).collect());
    let mut small = Small::new(17)
        .weight("t", &column(256))
        .weight("row", &Tensor::i64(&[256], (0..256).collect()))
        .node("Add", "t,row", "v0");
    for i in 0..20_000 {
        small = small.node("Add", &format!("v{i},row"), &format!("v{}", i + 1));
    }
    assert_eq!(small.output("v20000").import().graph.outputs().len(), 1);
}

#[test]
fn branches_in_branches_end() {
    let mut inner = Small::new(17).node("Relu", "x", "y0").output("y0");
    for depth in 1..60 {
        let branch = |name: &str, graph: &Small| packwright_onnx::proto::AttributeProto {
            name: Some(name.to_owned()),
            g: graph.proto.graph.clone(),
            ..Default::default()
        };
        let branches = vec![branch("then_branch", &inner), branch("else_branch", &inner)];
        if depth > 12 {
            // Both branches of every level would double the file each time.
            let one = vec![branches[0].clone()];
            inner = Small::new(17)
                .node_with("If", "yes", &format!("y{depth}"), one)
                .output(&format!("y{depth}"));
        } else {
            inner = Small::new(17)
                .node_with("If", "yes", &format!("y{depth}"), branches)
                .output(&format!("y{depth}"));
        }
    }
    let mut outer = inner
        .input("x", DataType::Float, "2,4")
        .weight("yes", &Tensor::i64(&[], vec![1]));
    outer.graph().node[0].attribute.push(int("unused", 1));
    match Model::from_bytes(outer.bytes(), None) {
        Ok(model) => {
            let _ = packwright_onnx::import(&model, &ImportOptions::default());
        }
        Err(problems) => assert_eq!(problems.0[0].code, "onnx-damaged"),
    }
}
