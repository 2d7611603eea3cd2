//! Bad inputs: each ends with the right exit code, a code that `explain` knows, and no output file.

use crate::command::{Folder, run};
use crate::{models, programs};

/// Runs with `--json`, checks all that every failure has, and gives the first code.
fn failure(folder: &Folder, args: &[&str], exit: i32) -> String {
    let before = folder.files();
    let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
    let ran = folder.run(&args);
    assert_eq!(ran.code, exit, "{args:?}\n{}{}", ran.stdout, ran.stderr);
    assert_eq!(folder.files(), before, "{args:?} leaves files");
    let codes = ran.codes();
    for code in &codes {
        let explained = run(&["explain", code]);
        assert_eq!(explained.code, 0, "{code} has no explanation: {args:?}");
    }
    codes.into_iter().next().expect("at least one error")
}

/// The same for a command that would write `out.npu`.
fn compile_failure(folder: &Folder, model: &str, more: &[&str], exit: i32) -> String {
    let args: Vec<_> = ["compile", model, "-o", "out.npu"]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    failure(folder, &args, exit)
}

#[test]
fn files_that_are_no_models() {
    let folder = Folder::new();
    let whole = models::bytes(&models::product("MatMul"));
    folder.write("empty.onnx", b"");
    folder.write("cut.onnx", &whole[..whole.len() / 2]);
    folder.write("page.onnx", b"<!DOCTYPE html><html>not found</html>");
    folder.write("bad.graph", b"graph g\n  %0 = nonsense\n");
    assert_eq!(
        compile_failure(&folder, "none.onnx", &[], 1),
        "file-missing"
    );
    assert_eq!(compile_failure(&folder, ".", &[], 1), "file-is-folder");
    assert_eq!(compile_failure(&folder, "empty.onnx", &[], 1), "file-empty");
    assert_eq!(
        compile_failure(&folder, "cut.onnx", &[], 1),
        "onnx-truncated"
    );
    assert_eq!(
        compile_failure(&folder, "page.onnx", &[], 1),
        "onnx-not-onnx"
    );
    compile_failure(&folder, "bad.graph", &[], 1);
    assert_eq!(
        compile_failure(&folder, "zoo:nonsense", &[], 1),
        "zoo-unknown"
    );
}

#[test]
fn models_that_cannot_be_imported() {
    let folder = Folder::new();
    folder.write("unknown.onnx", &models::bytes(&models::product("Teleport")));
    folder.write("unbound.onnx", &models::bytes(&models::unbound()));
    folder.write("outside.onnx", &models::bytes(&models::outside()));
    folder.write("good.onnx", &models::bytes(&models::product("MatMul")));
    assert_eq!(
        compile_failure(&folder, "unknown.onnx", &[], 3),
        "onnx-op-unknown"
    );
    assert_eq!(
        compile_failure(&folder, "unbound.onnx", &[], 1),
        "axis-unbound"
    );
    assert_eq!(
        compile_failure(&folder, "good.onnx", &["--bind", "rows=4"], 1),
        "axis-unknown"
    );
    assert_eq!(
        compile_failure(&folder, "outside.onnx", &[], 1),
        "external-outside"
    );
}

#[test]
fn random_numbers_can_be_refused() {
    let folder = Folder::new();
    let model = "zoo:reformer-crime.prefill.ts14-random.1x512.onnx";
    assert_eq!(
        compile_failure(&folder, model, &["--random", "refuse"], 1),
        "onnx-random-refused"
    );
    assert_eq!(folder.run(&["opt", model, "--random", "dice"]).code, 2);
}

#[test]
fn ten_unsupported_things_are_ten_entries_of_one_message() {
    let folder = Folder::new();
    folder.write("ten.onnx", &models::bytes(&models::chain(10)));
    let args = ["compile", "ten.onnx", "-o", "out.npu", "--json"];
    let ran = folder.run(&args);
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.codes(), ["onnx-op-unknown"; 10]);
    assert_eq!(folder.files(), ["ten.onnx"]);
    let facts = folder.done(&["inspect", "ten.onnx"]);
    assert!(facts.contains("10 problems stand in the way"), "{facts}");
}

#[test]
fn targets_that_are_no_machines() {
    let folder = Folder::new();
    folder.write("good.onnx", &models::bytes(&models::product("MatMul")));
    folder.write("half.toml", b"name = \"half\"\n");
    let compile = |more: &[&str]| compile_failure(&folder, "good.onnx", more, 1);
    assert_eq!(compile(&["-t", "e99"]), "target-unknown");
    assert_eq!(compile(&["-t", "none.toml"]), "file-missing");
    assert_eq!(compile(&["-t", "half.toml"]), "target-syntax");
    assert_eq!(compile(&["--set", "sram.size=1"]), "target-setting");
    assert_eq!(compile(&["--set", "cores=0"]), "target-invalid");
    assert_eq!(compile(&["--tile-bytes", "some"]), "size-unreadable");
}

#[test]
fn machines_that_are_too_small_are_a_clean_error() {
    let folder = Folder::new();
    let args = [
        "compile",
        "zoo:MiniLM",
        "--set",
        "sram.bytes=4KiB",
        "-o",
        "out.npu",
        "--json",
    ];
    let ran = folder.run(&args);
    assert!(
        ran.code == 1 || ran.code == 3,
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(folder.files(), [""; 0]);
    for code in ran.codes() {
        assert_eq!(
            run(&["explain", &code]).code,
            0,
            "{code} has no explanation"
        );
    }
}

#[test]
fn programs_that_are_damaged() {
    let folder = Folder::new();
    let whole = programs::bytes();
    folder.write("cut.npu", &whole[..whole.len() - 1]);
    folder.write("short.npu", &whole[..10]);
    folder.write("page.npu", b"<!DOCTYPE html><html>not found</html>");
    folder.write("empty.npu", b"");
    let mut flipped = whole.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    folder.write("flipped.npu", &flipped);
    folder.write("in.npz", b"PK");
    let cases = [
        ("cut.npu", "npu-truncated"),
        ("short.npu", "npu-truncated"),
        ("page.npu", "npu-bad-magic"),
        ("empty.npu", "file-empty"),
        ("flipped.npu", "npu-checksum"),
        ("none.npu", "file-missing"),
    ];
    for (file, code) in cases {
        assert_eq!(failure(&folder, &["simulate", file], 1), code, "{file}");
        assert_eq!(failure(&folder, &["inspect", file], 1), code, "{file}");
        let run = ["run", file, "--inputs", "in.npz", "--outputs", "out.npz"];
        assert_eq!(failure(&folder, &run, 1), code, "{file}");
    }
}

#[test]
fn every_bit_of_a_program_counts() {
    let folder = Folder::new();
    let whole = programs::bytes();
    // A few places spread over the file; the container's own tests flip every bit.
    for at in (0..whole.len()).step_by(whole.len() / 7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        folder.write("flipped.npu", &flipped);
        failure(&folder, &["inspect", "flipped.npu"], 1);
    }
}

#[test]
fn programs_that_break_the_rules() {
    let folder = Folder::new();
    let text = programs::text().replace("block=32\n  packet p1", "block=64\n  packet p1");
    folder.write("long.packets", text.as_bytes());
    folder.done(&["asm", "long.packets"]);
    assert_eq!(
        failure(&folder, &["simulate", "long.npu"], 1),
        "dram-bounds"
    );
}

#[test]
fn assembler_complains_under_the_line() {
    let folder = Folder::new();
    folder.write(
        "bad.packets",
        programs::text().replace("unary", "onary").as_bytes(),
    );
    let ran = folder.run(&["asm", "bad.packets"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("onary rows=2"), "{}", ran.stderr);
    assert_eq!(folder.files(), ["bad.packets"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let folder = Folder::new();
    folder.write("good.packets", programs::text().as_bytes());
    let ran = folder.run(&["asm", "good.packets", "-o", "no/such/folder/out.npu"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("file-unwritable"), "{}", ran.stderr);
    assert_eq!(folder.files(), ["good.packets"]);
}

#[test]
fn unknown_codes_get_a_hint() {
    let ran = run(&["explain", "file-mising"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("did you mean file-missing"),
        "{}",
        ran.stderr
    );
}
