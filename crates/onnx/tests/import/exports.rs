//! Real exports: decoded like another decoder does, damaged in every way, never a panic.

use std::io::Read;

use bytes::Bytes;
use onnx_protobuf::Message as _;
use packwright_onnx::{Binding, ImportOptions, Model};

macro_rules! export {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../../../zoo/models/", $name, ".onnx.zst")),
        )
    };
}

/// One file of each exporter and kind.
const EXPORTS: [(&str, &[u8]); 5] = [
    export!("tinybert-4l-312.encoder.ts14.dyn"),
    export!("minilm-l6.encoder.dynamo18.dyn"),
    export!("minilm-l6.encoder.ts17.1x128"),
    export!("t5-small.decoder-past.dynamo18.dyn"),
    export!("gpt2.decode.ts14.dyn"),
];

pub fn unpack(packed: &[u8]) -> Bytes {
    let mut bytes = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(packed)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    Bytes::from(bytes)
}

/// Lengths for the roles that a model has.
pub fn options(model: &Model) -> ImportOptions {
    use packwright_onnx::axis::Role;
    let has = |role| model.axes().iter().any(|a| a.role == role);
    let binding = Binding {
        seq: has(Role::Sequence).then_some(3),
        past: has(Role::Past).then_some(5),
        encoder: has(Role::Encoder).then_some(7),
        ..Binding::default()
    };
    ImportOptions {
        binding,
        ..ImportOptions::default()
    }
}

#[test]
fn another_decoder_sees_the_same() {
    for (name, packed) in EXPORTS {
        let bytes = unpack(packed);
        let model = Model::from_bytes(bytes.clone(), None).unwrap();
        let theirs = onnx_protobuf::ModelProto::parse_from_bytes(&bytes).unwrap();
        let (ours, theirs) = (model.graph(), theirs.graph);
        assert_eq!(ours.node.len(), theirs.node.len(), "{name}");
        for (a, b) in ours.node.iter().zip(&theirs.node) {
            assert_eq!(a.name(), b.name);
            assert_eq!(
                (a.op_type(), &a.input, &a.output),
                (b.op_type.as_str(), &b.input, &b.output)
            );
            assert_eq!(a.attribute.len(), b.attribute.len());
            for (x, y) in a.attribute.iter().zip(&b.attribute) {
                assert_eq!(
                    (x.name(), x.i(), x.f(), x.s()),
                    (y.name.as_str(), y.i, y.f, &y.s[..])
                );
                assert_eq!((&x.ints, &x.floats), (&y.ints, &y.floats));
            }
        }
        assert_eq!(ours.initializer.len(), theirs.initializer.len());
        for (a, b) in ours.initializer.iter().zip(&theirs.initializer) {
            assert_eq!(
                (a.name(), &a.dims, a.data_type()),
                (b.name.as_str(), &b.dims, b.data_type)
            );
            assert_eq!(a.raw_data.as_deref().unwrap_or_default(), &b.raw_data[..]);
            assert_eq!(a.external_data.len(), b.external_data.len());
        }
    }
}

#[test]
fn weights_stay_views_of_the_file() {
    let bytes = unpack(EXPORTS[0].1);
    let range = bytes.as_ptr_range();
    let model = Model::from_bytes(bytes.clone(), None).unwrap();
    let raw = model
        .graph()
        .node
        .iter()
        .flat_map(|n| &n.attribute)
        .filter_map(|a| a.t.as_ref());
    let raw: Vec<&Bytes> = raw
        .filter_map(|t| t.raw_data.as_ref())
        .filter(|r| !r.is_empty())
        .collect();
    assert!(raw.len() > 100);
    assert!(raw.iter().all(|r| range.contains(&r.as_ptr())));
}

#[test]
fn exports_import() {
    for (name, packed) in EXPORTS {
        let model = Model::from_bytes(unpack(packed), None).unwrap();
        let imported = packwright_onnx::import(&model, &options(&model));
        let imported = imported.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            imported.graph.outputs().len(),
            model.outputs().len(),
            "{name}"
        );
    }
}

#[test]
fn layers_are_named() {
    let mut report = String::new();
    for (name, packed) in EXPORTS {
        let model = Model::from_bytes(unpack(packed), None).unwrap();
        let graph = packwright_onnx::import(&model, &options(&model))
            .unwrap()
            .graph;
        let mut layers: Vec<&str> = Vec::new();
        for node in packwright_ir::order::topological(&graph) {
            let layer = graph.origin(graph.origin_of(node)).layer.as_str();
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        report += &format!("{name}: {}\n", layers.join(" | "));
    }
    insta::assert_snapshot!(report);
}
