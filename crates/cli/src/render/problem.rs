//! Complaints drawn for people: code, sentence, the guilty text, what to do.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource,
    Severity as Level, SourceCode,
};
use packwright::errors::{Failure, Problem};
use packwright::ir::diag::Severity;

/// More complaints of one kind than this are counted, not drawn.
const MOST: usize = 12;

/// All problems of a failure as text; those of one kind stand together.
pub fn draw(failure: &Failure, colors: bool) -> String {
    let theme = if colors {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_links(false);
    let mut out = String::new();
    for group in groups(&failure.0) {
        let drawing = Drawing::of(&group);
        if handler.render_report(&mut out, &drawing).is_err() {
            out.push_str(&format!("{drawing}\n"));
        }
        out.push('\n');
    }
    if let Some(first) = failure.first() {
        out.push_str(&format!("`packwright explain {}` says more\n", first.code));
    }
    out
}

/// Problems with the same code and help, in the order of the first of each kind. A problem that
/// points at text stands alone.
fn groups(problems: &[Problem]) -> Vec<Vec<&Problem>> {
    let mut groups: Vec<Vec<&Problem>> = Vec::new();
    for problem in problems {
        let same = |group: &&mut Vec<&Problem>| {
            let first = group[0];
            let alone = first.excerpt.is_some() || problem.excerpt.is_some();
            !alone && (first.code, &first.help) == (problem.code, &problem.help)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(problem),
            None => groups.push(vec![problem]),
        }
    }
    groups
}

/// Problems of one kind in the shape that miette draws.
#[derive(Debug)]
struct Drawing<'a> {
    problems: &'a [&'a Problem],
    first: &'a Problem,
    source: Option<NamedSource<String>>,
}

impl<'a> Drawing<'a> {
    fn of(problems: &'a [&'a Problem]) -> Self {
        let first = problems[0];
        let source = first.excerpt.as_ref();
        let source = source.map(|e| NamedSource::new(e.name.clone(), e.text.to_string()));
        Self {
            problems,
            first,
            source,
        }
    }
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().take(MOST).enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            match (&problem.place, &self.source) {
                (Some(place), None) => write!(f, "{place}: {}", problem.message)?,
                _ => f.write_str(&problem.message)?,
            }
        }
        match self.problems.len().saturating_sub(MOST) {
            0 => Ok(()),
            left => write!(f, "\n… and {left} more like these; --json lists all"),
        }
    }
}

impl std::error::Error for Drawing<'_> {}

impl Diagnostic for Drawing<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        Some(Box::new(self.first.code))
    }

    fn severity(&self) -> Option<Level> {
        Some(match self.first.severity {
            Severity::Warning => Level::Warning,
            Severity::Error | Severity::Unsupported => Level::Error,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.first
            .help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let excerpt = self.first.excerpt.as_ref()?;
        let span = LabeledSpan::new(Some("here".to_owned()), excerpt.offset, excerpt.bytes);
        Some(Box::new(std::iter::once(span)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn files_and_help_are_named() {
        let problem = Problem::error("file-missing", "there is no such file").at("a.onnx");
        let failure = Failure::from(problem.help("check the spelling"));
        insta::assert_snapshot!(draw(&failure, false));
    }

    #[test]
    fn problems_of_one_kind_stand_together() {
        let problem = |place: &str| Problem::error("op-unknown", "no such operator").at(place);
        let mut problems = vec![
            problem("/a"),
            Problem::error("axis", "not bound"),
            problem("/b"),
        ];
        problems.extend((0..20).map(|i| problem(&format!("/c{i}"))));
        insta::assert_snapshot!(draw(&Failure(problems), false));
    }

    #[test]
    fn guilty_words_are_underlined() {
        let text: Arc<str> = "graph g\n  %0 = nonsense x\n".into();
        let problem = Problem::error("unknown-op", "there is no such operator");
        let failure = Failure::from(problem.pointing("a.graph", &text, 2, 8));
        insta::assert_snapshot!(draw(&failure, false));
    }
}
