//! One error type for everything that can go wrong between a file and a report.
//!
//! A [`Failure`] gathers [`Problem`]s, never none. Libraries hand over diagnostics and typed errors;
//! here they get one shape, which the command draws or prints as JSON.

use std::fmt;
use std::sync::Arc;

use packwright_ir::diag::{Diagnostic, Diagnostics, Severity};
use packwright_packet::asm::ParseError;
use packwright_packet::container::ContainerError;
use packwright_sim::func::FuncError;
use serde::Serialize;

/// One complaint, with all that is needed to draw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable slug; `packwright explain` knows it.
    pub code: &'static str,
    pub severity: Severity,
    /// What is wrong, one sentence.
    pub message: String,
    /// Where: a file, a node, a line.
    pub place: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// The guilty text, where the input is text.
    pub excerpt: Option<Box<Excerpt>>,
}

/// A range of a text that a complaint points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Name of the text, usually its path.
    pub name: String,
    pub text: Arc<str>,
    /// Byte offset of the guilty range.
    pub offset: usize,
    /// Bytes of the guilty range.
    pub bytes: usize,
}

impl Problem {
    /// A complaint about wrong input.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic::error(code, message).into()
    }

    /// Something the user should know.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic::warning(code, message).into()
    }

    /// A complaint about something that this version cannot do.
    pub fn unsupported(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic::unsupported(code, message).into()
    }

    /// Says where, unless that is known already.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place.get_or_insert_with(|| place.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points at a line and column (both from one) of a text.
    #[must_use]
    pub fn pointing(mut self, name: &str, text: &Arc<str>, line: usize, column: usize) -> Self {
        let start: usize = text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        let rest = text[start..].lines().next().unwrap_or("");
        let skip = rest
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or(rest.len(), |(at, _)| at);
        let word = rest[skip..]
            .find(char::is_whitespace)
            .unwrap_or(rest.len() - skip);
        self.place = Some(format!("{name}:{line}:{column}"));
        self.excerpt = Some(Box::new(Excerpt {
            name: name.to_owned(),
            text: Arc::clone(text),
            offset: start + skip,
            bytes: word,
        }));
        self
    }
}

impl From<Diagnostic> for Problem {
    fn from(diagnostic: Diagnostic) -> Self {
        let Diagnostic {
            code,
            severity,
            message,
            place,
            help,
        } = diagnostic;
        Self {
            code,
            severity,
            message,
            place,
            help,
            excerpt: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{} [{}]", self.message, self.code)
    }
}

/// Everything that stands in the way; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub Vec<Problem>);

impl Failure {
    /// Says where each problem is that does not know it.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        Self(
            self.0
                .into_iter()
                .map(|problem| problem.at(place))
                .collect(),
        )
    }

    /// 3 where only limits of this version stand in the way, else 1.
    pub fn exit_code(&self) -> u8 {
        let limits_only = self
            .0
            .iter()
            .all(|problem| problem.severity != Severity::Error);
        if limits_only { 3 } else { 1 }
    }

    /// The problem to show where there is room for one: the first that is no warning.
    pub fn first(&self) -> Option<&Problem> {
        let worse = self
            .0
            .iter()
            .find(|problem| problem.severity != Severity::Warning);
        worse.or(self.0.first())
    }

    /// The form that `--json` prints.
    pub fn to_json(&self) -> ErrorsJson {
        ErrorsJson {
            errors: self.0.iter().map(ProblemJson::from).collect(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Problem::from(diagnostic).into()
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self(diagnostics.0.into_iter().map(Problem::from).collect())
    }
}

impl From<ContainerError> for Failure {
    fn from(error: ContainerError) -> Self {
        Problem::error(error.slug(), error.to_string())
            .help(error.help())
            .into()
    }
}

impl From<FuncError> for Failure {
    fn from(error: FuncError) -> Self {
        Problem::error(error.slug(), error.to_string())
            .help(error.help())
            .into()
    }
}

/// The problems of an assembler text, each under its line.
pub fn assembler_failure(name: &str, text: &Arc<str>, errors: Vec<ParseError>) -> Failure {
    let problems = errors.into_iter().map(|error| {
        let ParseError {
            code,
            line,
            column,
            expected,
            found,
        } = error;
        let found = if found.is_empty() {
            "the end of the line".to_owned()
        } else {
            found
        };
        Problem::error(code, format!("expected {expected}, found {found}")).pointing(
            name,
            text,
            line as usize,
            column as usize,
        )
    });
    Failure(problems.collect())
}

/// What `--json` prints where a command fails.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorsJson {
    pub errors: Vec<ProblemJson>,
}

/// One problem in JSON; the names are fixed.
#[derive(Clone, Debug, Serialize)]
pub struct ProblemJson {
    pub code: String,
    pub severity: &'static str,
    pub message: String,
    pub r#where: Option<String>,
    pub help: Option<String>,
}

impl From<&Problem> for ProblemJson {
    fn from(problem: &Problem) -> Self {
        Self {
            code: problem.code.to_owned(),
            severity: severity_name(problem.severity),
            message: problem.message.clone(),
            r#where: problem.place.clone(),
            help: problem.help.clone(),
        }
    }
}

/// The word for a severity.
pub fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Unsupported => "unsupported",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_limits_exit_with_three() {
        let limit = Problem::unsupported("unsupported-operator", "no");
        let wrong = Problem::error("file-missing", "no");
        assert_eq!(Failure(vec![limit.clone()]).exit_code(), 3);
        assert_eq!(Failure(vec![limit, wrong]).exit_code(), 1);
    }

    #[test]
    fn problems_point_at_words() {
        let text: Arc<str> = "graph g\n  %0 = nonsense x\n".into();
        let problem = Problem::error("unknown-op", "no").pointing("a.graph", &text, 2, 8);
        let excerpt = problem.excerpt.expect("points at text");
        assert_eq!(
            &text[excerpt.offset..excerpt.offset + excerpt.bytes],
            "nonsense"
        );
        assert_eq!(problem.place.as_deref(), Some("a.graph:2:8"));
    }

    #[test]
    fn json_names_are_fixed() {
        let failure: Failure = Problem::error("file-missing", "no such file")
            .at("a.onnx")
            .into();
        let json = serde_json::to_string(&failure.to_json()).expect("serialises");
        insta::assert_snapshot!(json, @r#"{"errors":[{"code":"file-missing","severity":"error","message":"no such file","where":"a.onnx","help":null}]}"#);
    }
}
