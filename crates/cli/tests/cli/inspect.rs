//! What `inspect`, `targets` and `explain` say.

use crate::command::{Folder, run};
use crate::{models, programs};

#[test]
fn models_name_the_axes_to_bind() {
    let folder = Folder::new();
    folder.write("m.onnx", &models::bytes(&models::product("MatMul")));
    insta::assert_snapshot!(folder.done(&["inspect", "m.onnx"]));
}

#[test]
fn models_name_what_stands_in_the_way() {
    let folder = Folder::new();
    folder.write("m.onnx", &models::bytes(&models::product("Teleport")));
    insta::assert_snapshot!(folder.done(&["inspect", "m.onnx"]));
}

#[test]
fn programs_name_their_regions() {
    let folder = Folder::new();
    folder.write("p.npu", &programs::bytes());
    insta::assert_snapshot!(folder.done(&["inspect", "p.npu"]));
    let json: serde_json::Value =
        serde_json::from_str(&folder.done(&["inspect", "p.npu", "--json"])).expect("JSON");
    assert_eq!(json["schema"], "packwright.program/1");
    assert_eq!(json["entries"][0]["packets"], 3);
}

#[test]
fn targets_can_be_read_back() {
    let folder = Folder::new();
    let toml = folder.done(&["targets", "e2", "--set", "sram.bytes=4MiB"]);
    folder.write("mine.toml", toml.as_bytes());
    assert_eq!(folder.done(&["targets", "mine.toml"]), toml);
    assert!(folder.done(&["targets"]).contains("LPDDR"));
}

#[test]
fn all_codes_are_listed() {
    let ran = run(&["explain", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert!(list.as_array().expect("a list").len() > 80);
}
