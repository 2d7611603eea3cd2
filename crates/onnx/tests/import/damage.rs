//! Files that are no models, cut short, or changed at random: a message, never a panic.

use bytes::Bytes;
use packwright_onnx::{ImportOptions, Model};

use crate::exports::{options, unpack};
use crate::small::Small;

const FILES: [&[u8]; 3] = [
    include_bytes!("../../../zoo/models/minilm-l6.encoder.dynamo18.dyn.onnx.zst"),
    include_bytes!("../../../zoo/models/tinybert-4l-312.encoder.ts14.dyn.onnx.zst"),
    include_bytes!("../../../zoo/models/t5-small.decoder-past.dynamo18.dyn.onnx.zst"),
];

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
fn every_cut_is_reported() {
    for packed in FILES {
        let bytes = unpack(packed);
        for i in 0..100 {
            let cut = bytes.slice(0..bytes.len() * i / 100);
            let got = match Model::from_bytes(cut, None) {
                Ok(model) => packwright_onnx::import(&model, &options(&model)).map(|_| ()),
                Err(e) => Err(e),
            };
            assert!(got.is_err(), "cut at {i} %");
        }
    }
}

#[test]
fn random_changes_never_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut imported = 0;
    for packed in FILES {
        let bytes = unpack(packed);
        for _ in 0..1500 {
            let mut changed = bytes.to_vec();
            for _ in 0..1 + next() % 4 {
                let at = next() % changed.len();
                match next() % 4 {
                    0 => changed[at] = next() as u8,
                    1 => changed[at] ^= 1 << (next() % 8),
                    2 => changed[at] = changed[at].wrapping_add(1),
                    _ => {
                        let end = (at + 1 + next() % 8).min(changed.len());
                        changed.drain(at..end);
                    }
                }
            }
            if let Ok(model) = Model::from_bytes(Bytes::from(changed), None) {
                let options = options(&model);
                imported += usize::from(packwright_onnx::import(&model, &options).is_ok());
            }
        }
    }
    assert!(imported > 0, "some changes do no harm");
}

#[test]
fn impossible_shapes_are_refused() {
    use packwright_onnx::proto::tensor_proto::DataType;
    let small = Small::new(17)
        .input("x", DataType::Float, "4294967296,4294967296,2")
        .node("Identity", "x", "y")
        .output("y");
    let error = packwright_onnx::import(&small.model(), &ImportOptions::default()).unwrap_err();
    insta::assert_snapshot!(error, @r#""x" has the impossible shape [4294967296, 4294967296, 2] [onnx-shape]"#);
}
