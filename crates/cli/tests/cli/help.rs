//! Help texts: one snapshot a subcommand, each with examples.

use crate::command::run;

const COMMANDS: [&str; 14] = [
    "slms",
    "estimate",
    "compile",
    "simulate",
    "run",
    "generate",
    "inspect",
    "compare",
    "targets",
    "opt",
    "asm",
    "dis",
    "explain",
    "completions",
];

#[test]
fn the_command_lists_its_subcommands() {
    let ran = run(&["--help"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!("help", ran.stdout);
    for command in COMMANDS {
        assert!(ran.stdout.contains(&format!("\n  {command} ")), "{command}");
    }
}

#[test]
fn every_subcommand_has_examples() {
    for command in COMMANDS {
        let ran = run(&[command, "--help"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("\nExamples:\n"), "{command}");
        insta::assert_snapshot!(format!("help-{command}"), ran.stdout);
    }
}

#[test]
fn bad_usage_exits_with_two() {
    let wrong: [&[&str]; 6] = [
        &[],
        &["nonsense"],
        &["compile"],
        &["estimate", "m.onnx", "--seq", "many"],
        &["run", "m.npu"],
        &["slms", "--threads", "0"],
    ];
    for args in wrong {
        let ran = run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
}
