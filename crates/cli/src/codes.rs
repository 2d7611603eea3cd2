//! Every code that an error can carry, with what it means: the tables of all crates in one list.

mod command;
mod compiler;
mod program;

use packwright_ir::diag::CodeDoc;
use packwright_packet::check::RULES;

/// What `explain` says about a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub code: &'static str,
    /// One sentence.
    pub title: &'static str,
    /// What it means, why it happens, what to do.
    pub text: String,
    /// The part of the tool that says it.
    pub part: &'static str,
}

const fn doc(code: &'static str, title: &'static str, text: &'static str) -> CodeDoc {
    CodeDoc { code, title, text }
}

/// All codes in order of the alphabet, each once.
pub fn all() -> Vec<Explanation> {
    let mut list = Vec::new();
    let parts: [(&'static str, &'static [CodeDoc]); 5] = [
        ("command", command::CODES),
        ("model", packwright_onnx::codes::CODES),
        ("graph", packwright_ir::codes::CODES),
        ("compiler", compiler::CODES),
        ("program", program::CODES),
    ];
    for (part, docs) in parts {
        list.extend(docs.iter().map(|doc| Explanation {
            code: doc.code,
            title: doc.title,
            text: doc.text.to_owned(),
            part,
        }));
    }
    list.extend(
        packwright_target::config::CODES
            .iter()
            .map(|&(code, text)| {
                let title = text.split_inclusive(". ").next().unwrap_or(text).trim_end();
                Explanation {
                    code,
                    title,
                    text: text.to_owned(),
                    part: "target",
                }
            }),
    );
    list.extend(RULES.iter().map(|rule| Explanation {
        code: rule.slug,
        title: rule.rule,
        text: format!(
            "The check of programs refuses what breaks this rule. In hand-written programs: {}.",
            rule.help
        ),
        part: "check",
    }));
    list.sort_by_key(|explanation| explanation.code);
    list.dedup_by_key(|explanation| explanation.code);
    list
}

/// The explanation of a code.
pub fn find(code: &str) -> Option<Explanation> {
    all()
        .into_iter()
        .find(|explanation| explanation.code == code)
}

/// Codes that look like what was asked for, the likeliest first.
pub fn near(code: &str) -> Vec<&'static str> {
    nearest(code, all().iter().map(|explanation| explanation.code))
}

/// Names that look like what was asked for, the likeliest first.
pub fn nearest(asked: &str, known: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut scored: Vec<_> = known.map(|name| (distance(asked, name), name)).collect();
    scored
        .retain(|&(distance, name)| distance <= 3 || name.contains(asked) || asked.contains(name));
    scored.sort_unstable();
    scored.into_iter().map(|(_, name)| name).take(5).collect()
}

/// The least number of letters to change, insert or remove.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_explained() {
        for explanation in all() {
            let code = explanation.code;
            assert!(
                code.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{code}"
            );
            assert!(
                !explanation.title.is_empty() && !explanation.text.is_empty(),
                "{code}"
            );
        }
    }

    #[test]
    fn typing_errors_find_their_code() {
        assert_eq!(near("file-mising").first(), Some(&"file-missing"));
        assert!(near("zzzzzzzzzz").is_empty());
    }
}
