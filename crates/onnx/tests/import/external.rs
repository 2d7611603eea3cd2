//! External data: found beside the model, never outside, absent without complaint.

use std::fs;

use packwright_ir::konst::Source;
use packwright_ir::tensor::Tensor;
use packwright_onnx::proto::StringStringEntryProto;
use packwright_onnx::proto::tensor_proto::{DataLocation, DataType};
use packwright_onnx::{ImportOptions, Model};
use tempfile::TempDir;

use crate::small::{Small, count};

fn model(entries: &[(&str, &str)]) -> Small {
    let weight: Tensor = count(&[8, 4]);
    let mut small = Small::new(17)
        .input("x", DataType::Float, "2,8")
        .weight("w", &weight)
        .node("MatMul", "x,w", "y")
        .output("y");
    let tensor = &mut small.graph().initializer[0];
    tensor.raw_data = None;
    tensor.data_location = Some(DataLocation::External as i32);
    tensor.external_data = entries
        .iter()
        .map(|(k, v)| StringStringEntryProto {
            key: Some((*k).to_owned()),
            value: Some((*v).to_owned()),
        })
        .collect();
    small
}

/// The source of the weight, or what is wrong with it.
fn source(dir: &TempDir, entries: &[(&str, &str)]) -> Result<Source, String> {
    let path = dir.path().join("model.onnx");
    fs::write(&path, model(entries).bytes()).unwrap();
    let model = Model::open(&path).unwrap();
    let graph = packwright_onnx::import(&model, &ImportOptions::default())
        .map_err(|e| {
            e.to_string()
                .replace(&dir.path().display().to_string(), "DIR")
        })?
        .graph;
    Ok(graph.consts()[0].source.clone())
}

#[test]
fn data_lies_beside_the_model() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("w.bin"), [7u8; 4 + 128]).unwrap();
    let found = source(
        &dir,
        &[("location", "w.bin"), ("offset", "4"), ("length", "128")],
    )
    .unwrap();
    assert_eq!(found, Source::Bytes(bytes::Bytes::from(vec![7u8; 128])));
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/w.bin"), [9u8; 128]).unwrap();
    let found = source(&dir, &[("location", "./data/w.bin")]).unwrap();
    assert_eq!(found, Source::Bytes(bytes::Bytes::from(vec![9u8; 128])));
}

#[test]
fn a_missing_file_leaves_the_weight_absent() {
    let dir = TempDir::new().unwrap();
    assert_eq!(source(&dir, &[("location", "w.bin")]), Ok(Source::Absent));
}

#[test]
fn a_short_file_is_an_error() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("w.bin"), [7u8; 100]).unwrap();
    insta::assert_snapshot!(source(&dir, &[("location", "w.bin")]).unwrap_err(), @r#""w" ends at byte 128 of "w.bin", which has 100 [external-short]"#);
}

#[test]
fn nothing_outside_the_folder_is_read() {
    let dir = TempDir::new().unwrap();
    let inner = TempDir::new_in(dir.path()).unwrap();
    let outside = dir.path().join("secret.bin");
    fs::write(&outside, [7u8; 128]).unwrap();
    let absolute = outside.display().to_string();
    let mut all: Vec<String> = [
        "../secret.bin",
        "a/../../secret.bin",
        "..\\secret.bin",
        "C:secret.bin",
    ]
    .iter()
    .map(|l| source(&inner, &[("location", l)]).unwrap_err())
    .collect();
    all.push(
        source(&inner, &[("location", &absolute)])
            .unwrap_err()
            .replace(&absolute, "ABSOLUTE"),
    );
    insta::assert_snapshot!(all.join("\n"), @r#"
    "w" lies in "../secret.bin", outside the model's folder [external-outside]
    "w" lies in "a/../../secret.bin", outside the model's folder [external-outside]
    "w" lies in "..\\secret.bin", outside the model's folder [external-outside]
    "w" lies in "C:secret.bin", outside the model's folder [external-outside]
    "w" lies in "ABSOLUTE", outside the model's folder [external-outside]
    "#);
}

#[cfg(unix)]
#[test]
fn links_do_not_lead_out() {
    let dir = TempDir::new().unwrap();
    let inner = TempDir::new_in(dir.path()).unwrap();
    fs::write(dir.path().join("secret.bin"), [7u8; 128]).unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret.bin"), inner.path().join("w.bin")).unwrap();
    let error = source(&inner, &[("location", "w.bin")]).unwrap_err();
    assert!(error.contains("external-outside"), "{error}");
}

#[test]
fn entries_are_checked() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("w.bin"), [7u8; 128]).unwrap();
    let all = [
        source(&dir, &[("offset", "0")]),
        source(&dir, &[("location", "w.bin"), ("offset", "-1")]),
        source(
            &dir,
            &[("location", "w.bin"), ("offset", "18446744073709551615")],
        ),
        source(&dir, &[("location", "w.bin"), ("length", "64")]),
    ];
    let all: Vec<String> = all.into_iter().map(Result::unwrap_err).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    external data of "w": the location is missing [external-entry]
    external data of "w": offset is "-1" [external-entry]
    external data of "w": offset is 18446744073709551615 [external-entry]
    "w" is f32[8,4], 128 bytes, and 64 bytes are stored [onnx-tensor-size]
    "#);
}
