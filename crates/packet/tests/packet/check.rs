//! The check: a program for each rule, which breaks it and no other; programs that break none.
//!
//! `tests/data/check/SLUG.packets` breaks the rule SLUG. Each complaint stands below the line that
//! it is about: a command, a packet, or the entry. `INSTA_UPDATE=always` writes them.

use std::path::{Path, PathBuf};

use packwright_packet::asm::assemble;
use packwright_packet::check::{Problem, RULES, check};
use packwright_packet::disasm::{DisasmOptions, disassemble};
use packwright_packet::program::Program;
use packwright_target::Target;

/// The machine of these tests: 64 KiB of SRAM.
fn tiny() -> Target {
    Target::preset("tiny").expect("a preset")
}

fn program(text: &str) -> Program {
    assemble(text, None).expect("a program that can be read")
}

/// The text with the complaints about its lines below them.
fn annotated(text: &str, problems: &[Problem]) -> String {
    let (mut entry, mut packet, mut command) = (None, None, None);
    let next = |count: Option<usize>| Some(count.map_or(0, |count| count + 1));
    let mut out = String::new();
    let complaint = |line: &&str| line.trim_start().starts_with("; error: ");
    for line in text.lines().filter(|line| !complaint(line)) {
        out.push_str(line);
        out.push('\n');
        let place = match line.split_whitespace().next() {
            Some("entry") => {
                (entry, packet, command) = (next(entry), None, None);
                true
            }
            Some("packet") => {
                (packet, command) = (next(packet), None);
                true
            }
            Some(word) if packet.is_some() && !word.starts_with(';') => {
                command = next(command);
                true
            }
            _ => false,
        };
        let here =
            |p: &&Problem| Some(p.entry) == entry && p.packet == packet && p.command == command;
        for problem in problems.iter().filter(here).filter(|_| place) {
            let (slug, message) = (problem.slug, &problem.message);
            out.push_str(&format!("      ; error: {slug}: {message}\n"));
        }
    }
    out
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/check")
}

fn slugs() -> impl Iterator<Item = &'static str> {
    // The bookkeeping is tested where it is done: a program that exhausts it is too large for a text.
    let slugs = RULES.iter().map(|rule| rule.slug);
    slugs.filter(|&slug| slug != "check-limit")
}

#[test]
fn each_rule_is_broken_by_a_program() {
    for slug in slugs() {
        let path = folder().join(slug).with_extension("packets");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{slug}: {error}"));
        let problems = check(&program(&text), &tiny());
        assert!(
            problems.iter().all(|p| p.slug == slug),
            "{slug}: {problems:#?}"
        );
        assert!(!problems.is_empty(), "{slug} is not found");
        let found = annotated(&text, &problems);
        if std::env::var("INSTA_UPDATE").as_deref() == Ok("always") {
            std::fs::write(&path, &found).expect("the file can be written");
        } else {
            assert!(text == found, "{} should be\n{found}", path.display());
        }
        let complaints = found.matches("; error: ").count();
        assert_eq!(complaints, problems.len(), "every complaint has its line");
    }
}

#[test]
fn each_program_has_a_rule() {
    for file in std::fs::read_dir(folder()).expect("the folder of programs") {
        let path = file.expect("a file").path();
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        assert!(slugs().any(|slug| slug == stem), "{stem} is no rule");
    }
}

#[test]
fn a_program_written_by_hand_is_sound() {
    let text = include_str!("../data/two-layers.packets");
    let program = program(text);
    assert_eq!(check(&program, &tiny()), []);
    let printed = disassemble(&program, &DisasmOptions::default());
    assert_eq!(assemble(&printed, None), Ok(program));
}

/// Packets that take turns in `slots` places of SRAM, each waiting for the one before in its place.
fn turns(packets: usize, slots: usize) -> String {
    let mut text =
        String::from("program \"turns\"\norigin o0 layer=\"a\" what=\"b\"\nentry \"main\"\n");
    for p in 0..packets {
        let wait = p
            .checked_sub(slots)
            .map_or(String::new(), |before| format!(" wait=t{before}"));
        let (x, y) = (p % slots * 4096, p % slots * 4096 + 2048);
        text.push_str(&format!(
            "packet{wait} signal=t{p} free={x}+4096\n\
             fill rows=8 cols=16 value=0.0 dst=f32@{x}:128\n\
             unary rows=8 cols=16 func=relu src=f32@{x}:128 dst=f16@{y}:64\n"
        ));
    }
    text
}

#[test]
fn long_streams_are_followed_exactly() {
    assert_eq!(check(&program(&turns(2000, 8)), &tiny()), []);
    let broken = turns(2000, 8).replace("packet wait=t1500 ", "packet wait=t1499 ");
    let problems = check(&program(&broken), &tiny());
    let places: Vec<_> = problems
        .iter()
        .map(|p| (p.slug, p.packet, p.command))
        .collect();
    assert_eq!(
        places,
        [
            ("sram-race", Some(1508), Some(0)),
            ("sram-race", Some(1508), Some(1))
        ]
    );
}

#[test]
fn rules_are_told_apart_and_documented() {
    for (at, rule) in RULES.iter().enumerate() {
        assert!(RULES[..at].iter().all(|other| other.slug != rule.slug));
        assert!(
            rule.slug
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c == b'-')
        );
        assert!(rule.rule.ends_with('.') && !rule.help.ends_with('.'));
    }
}
