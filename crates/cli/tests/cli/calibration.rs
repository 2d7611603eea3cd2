//! Calibration: samples that do not fit, numbers that are none, inputs without a range.

use ndarray::{ArrayD, IxDyn};
use ndarray_npy::NpzWriter;

use crate::command::{Folder, Ran, run};

/// A product of a float input, with weights that are there.
const MODEL: &str = "graph g
  @0 : f32[32,16] \"w\" = synthetic normal(std=0.3, seed=1)
  %0 : f32[1,4,32] = input \"x\"
  %1 : f32[1,4,16] = matmul %0, @0
  output %1 \"y\"
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("m.graph", MODEL.as_bytes());
    folder
}

fn samples<T: ndarray_npy::WritableElement>(folder: &Folder, name: &str, array: &ArrayD<T>) {
    let file = std::fs::File::create(folder.path("data.npz")).expect("creates");
    let mut npz = NpzWriter::new(file);
    npz.add_array(name, array).expect("adds");
    npz.finish().expect("writes");
}

fn filled(shape: &[usize], value: f32) -> ArrayD<f32> {
    ArrayD::from_elem(IxDyn(shape), value)
}

fn wave(shape: &[usize]) -> ArrayD<f32> {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0);
    ArrayD::from_shape_vec(IxDyn(shape), values.collect()).expect("fills the shape")
}

fn compile(folder: &Folder) -> Ran {
    let args = [
        "compile",
        "m.graph",
        "-o",
        "out.npu",
        "--activations",
        "static",
        "--calibrate",
        "data.npz",
        "--json",
    ];
    folder.run(&args)
}

fn code(folder: &Folder) -> String {
    let ran = compile(folder);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(!folder.files().contains(&"out.npu".to_owned()));
    let codes = ran.codes();
    assert_eq!(run(&["explain", &codes[0]]).code, 0, "{codes:?}");
    codes[0].clone()
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let folder = folder();
    samples(&folder, "x", &wave(&[3, 4, 31]));
    assert_eq!(code(&folder), "input-shape");
    samples(&folder, "z", &wave(&[3, 4, 32]));
    assert_eq!(code(&folder), "input-unknown");
    let words = ArrayD::from_elem(IxDyn(&[3, 4, 32]), i64::MAX);
    samples(&folder, "x", &words);
    assert_eq!(code(&folder), "input-type");
    folder.write("data.npz", b"no archive");
    assert_eq!(code(&folder), "npz-unreadable");
}

#[test]
fn samples_that_are_no_numbers_are_refused_by_name() {
    let folder = folder();
    for broken in [f32::NAN, f32::INFINITY] {
        let mut array = wave(&[3, 4, 32]);
        array[[1, 2, 3]] = broken;
        samples(&folder, "x", &array);
        assert_eq!(code(&folder), "calibration-not-finite");
        let said = compile(&folder).stdout;
        assert!(said.contains("`x` of sample 1"), "{said}");
    }
}

#[test]
fn an_input_without_a_range_is_a_warning_that_names_the_layer() {
    let folder = folder();
    samples(&folder, "x", &filled(&[3, 4, 32], 0.0));
    let ran = compile(&folder);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    let warning = &summary["warnings"][0];
    assert_eq!(warning["code"], "calibration-constant");
    assert_eq!(warning["where"], "w");
    samples(&folder, "x", &wave(&[3, 4, 32]));
    let summary: serde_json::Value =
        serde_json::from_str(&compile(&folder).stdout).expect("is JSON");
    assert_eq!(summary["warnings"].as_array().map(Vec::len), Some(0));
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let weights: Vec<String> = (0..32 * 16)
        .map(|i| if i == 77 { "nan" } else { "0000803f" }.to_owned())
        .collect();
    for broken in ["0000c07f", "0000807f"] {
        let folder = Folder::new();
        let bytes = weights.concat().replace("nan", broken);
        let source = format!("bytes \"{bytes}\"");
        let model = MODEL.replace("synthetic normal(std=0.3, seed=1)", &source);
        folder.write("m.graph", model.as_bytes());
        let ran = folder.run(&["compile", "m.graph", "-o", "out.npu", "--json"]);
        assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.codes(), ["weights-not-finite"]);
        assert!(ran.stdout.contains("`w`"), "{}", ran.stdout);
        assert_eq!(run(&["explain", "weights-not-finite"]).code, 0);
    }
}

#[test]
fn layers_are_raised_until_the_target_is_met() {
    let folder = folder();
    samples(&folder, "x", &wave(&[3, 4, 32]));
    let args = [
        "quantize",
        "m.graph",
        "--calibrate",
        "data.npz",
        "--min-cosine",
        "0.999999",
        "-o",
        "m.toml",
        "--json",
    ];
    let ran = folder.run(&args);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).expect("is JSON");
    assert_eq!(summary["layers"][0]["activations"], "row16", "{summary}");
    let recipe = std::fs::read_to_string(folder.path("m.toml")).expect("is written");
    assert!(recipe.contains("row16"), "{recipe}");
    folder.done(&["compile", "m.graph", "--recipe", "m.toml", "-o", "wide.npu"]);
}
