//! Runs of a program on arrays.

use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter};

use crate::command::Folder;
use crate::programs;

fn save(folder: &Folder, name: &str, arrays: &[(&str, ArrayD<f32>)]) {
    let file = std::fs::File::create(folder.path(name)).expect("creates");
    let mut npz = NpzWriter::new(file);
    for (name, array) in arrays {
        npz.add_array(*name, array).expect("adds");
    }
    npz.finish().expect("writes");
}

fn load(folder: &Folder, name: &str, array: &str) -> ArrayD<f32> {
    let file = std::fs::File::open(folder.path(name)).expect("opens");
    NpzReader::new(file)
        .expect("reads")
        .by_name(array)
        .expect("has the array")
}

fn ramp(shape: &[usize]) -> ArrayD<f32> {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|i| i as f32 - 3.0).collect();
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("fills the shape")
}

#[test]
fn outputs_are_what_the_packets_compute() {
    let folder = Folder::new();
    folder.write("p.npu", &programs::bytes());
    save(&folder, "in.npz", &[("x", ramp(&[2, 4]))]);
    folder.done(&["run", "p.npu", "--inputs", "in.npz", "--outputs", "out.npz"]);
    let y = load(&folder, "out.npz", "y");
    assert_eq!(y, ramp(&[2, 4]).mapv(|v| v.max(0.0)));
}

#[test]
fn many_samples_need_each() {
    let folder = Folder::new();
    folder.write("p.npu", &programs::bytes());
    save(&folder, "in.npz", &[("x", ramp(&[3, 2, 4]))]);
    let args = ["run", "p.npu", "--inputs", "in.npz", "--outputs", "out.npz"];
    let ran = folder.run(&args);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("--each"), "{}", ran.stderr);
    assert!(!folder.path("out.npz").exists());
    folder.done(&[&args[..], &["--each"]].concat());
    assert_eq!(
        load(&folder, "out.npz", "y"),
        ramp(&[3, 2, 4]).mapv(|v| v.max(0.0))
    );
}

#[test]
fn wrong_arrays_are_all_named() {
    let folder = Folder::new();
    folder.write("p.npu", &programs::bytes());
    save(&folder, "in.npz", &[("z", ramp(&[2, 4]))]);
    let args = [
        "run",
        "p.npu",
        "--inputs",
        "in.npz",
        "--outputs",
        "out.npz",
        "--json",
    ];
    let ran = folder.run(&args);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.codes(), ["input-unknown", "input-missing"]);
    folder.write("in.npz", b"no archive");
    assert_eq!(folder.run(&args).codes(), ["npz-unreadable"]);
}
