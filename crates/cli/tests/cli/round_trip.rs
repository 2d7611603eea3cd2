//! `dis` and `asm` lead back to the same bytes; `opt` to the same text.

use crate::command::Folder;
use crate::programs;

#[test]
fn programs_come_back_byte_for_byte() {
    let folder = Folder::new();
    folder.write("a.npu", &programs::bytes());
    folder.done(&["dis", "a.npu", "-o", "a.packets"]);
    folder.done(&["asm", "a.packets", "-o", "b.npu"]);
    let read = |name: &str| std::fs::read(folder.path(name)).expect("reads");
    assert_eq!(read("a.npu"), read("b.npu"));
    assert_eq!(
        folder.done(&["dis", "b.npu"]).into_bytes(),
        read("a.packets")
    );
}

#[test]
fn large_constants_travel_beside_the_text() {
    let folder = Folder::new();
    let digits: String = (0..256)
        .map(|i| format!("  |{:02x}{}\n", i, "5a".repeat(31)))
        .collect();
    let region = "  region d2 weights \"w\" address=0x100 bytes=8192 constant=0x0\n";
    let text = programs::text()
        .replace(
            "constants absent 0\n",
            &format!("constants hex 8192\n{digits}"),
        )
        .replace("  input \"x\"", &format!("{region}  input \"x\""));
    folder.write("a.packets", text.as_bytes());
    folder.done(&["asm", "a.packets"]);
    folder.done(&["dis", "a.npu", "-o", "b.packets"]);
    assert!(
        folder.files().contains(&"b.constants".to_owned()),
        "{:?}",
        folder.files()
    );
    folder.done(&["asm", "b.packets", "-o", "b.npu"]);
    let read = |name: &str| std::fs::read(folder.path(name)).expect("reads");
    assert_eq!(read("a.npu"), read("b.npu"));
}

#[test]
fn graphs_come_back_as_they_are() {
    let folder = Folder::new();
    let text =
        "graph g\n  %0 : f32[2,4] = input \"x\"\n  %1 : f32[2,4] = relu %0\n  output %1 \"y\"\n";
    folder.write("g.graph", text.as_bytes());
    let printed = folder.done(&["opt", "g.graph"]);
    folder.write("again.graph", printed.as_bytes());
    assert_eq!(folder.done(&["opt", "again.graph"]), printed);
}

#[test]
fn passes_are_listed() {
    let folder = Folder::new();
    let list = folder.done(&["opt", "--list"]);
    assert!(list.lines().count() > 2, "{list}");
    folder.write(
        "g.graph",
        b"graph g\n  %0 : f32[2,4] = input \"x\"\n  output %0 \"y\"\n",
    );
    let ran = folder.run(&["opt", "--pass", "fold-constant", "g.graph"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("pass-unknown"), "{}", ran.stderr);
}
