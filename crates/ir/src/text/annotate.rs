//! Complaints on the guilty lines of a text.

use std::collections::BTreeMap;

use super::ParseError;
use super::lexer::statement_end;
use super::parser::{Name, defined};
use crate::diag::Diagnostics;
use crate::id::{ConstId, NodeId};

/// What a complaint in a text starts with.
const MARK: &str = "; error:";

/// The text with each complaint as `; error: slug` at the end of its line. Complaints that stand
/// there from before give way; a line that keeps its complaints stays as it is.
pub fn annotate(source: &str, errors: &[ParseError]) -> String {
    let mut codes: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for error in errors {
        let codes = codes.entry(error.line).or_default();
        if !codes.contains(&error.code) {
            codes.push(error.code);
        }
    }
    let lines = source.split('\n').enumerate().map(|(index, line)| {
        let codes = codes.get(&(index + 1)).map_or(&[][..], Vec::as_slice);
        annotate_line(line, codes)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Complaints about a graph at the lines of the text that it was parsed from: their places are ids
/// of nodes and constants. Those without a place go to the first line.
pub fn locate(source: &str, complaints: &Diagnostics) -> Vec<ParseError> {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for (index, line) in source.split('\n').enumerate() {
        let id = match defined(line) {
            Some(Name::Node { id, .. }) => NodeId(id).to_string(),
            Some(Name::Const(id)) => ConstId(id).to_string(),
            None => continue,
        };
        lines.entry(id).or_insert(index + 1);
    }
    let line_of = |place: &Option<String>| place.as_ref().and_then(|id| lines.get(id)).copied();
    let mut errors: Vec<ParseError> = complaints
        .0
        .iter()
        .map(|complaint| ParseError {
            line: line_of(&complaint.place).unwrap_or(1),
            column: 1,
            code: complaint.code,
            message: complaint.message.clone(),
        })
        .collect();
    errors.sort_by_key(|error| error.line);
    errors
}

fn annotate_line(line: &str, codes: &[&str]) -> String {
    let (statement, before) = split(line);
    let now = codes.join(", ");
    if now == before {
        line.to_owned()
    } else if now.is_empty() {
        statement.to_owned()
    } else {
        format!("{}  {MARK} {now}", statement.trim_end())
    }
}

/// A line without its complaints, and their codes.
fn split(line: &str) -> (&str, &str) {
    let start = statement_end(line);
    let is_code = |c: char| c.is_ascii_lowercase() || matches!(c, '-' | ',' | ' ');
    match line[start..]
        .rfind(MARK)
        .map(|at| line.split_at(start + at))
    {
        Some((statement, comment)) if comment[MARK.len()..].chars().all(is_code) => {
            (statement.trim_end(), comment[MARK.len()..].trim())
        }
        Some(_) | None => (line, ""),
    }
}
