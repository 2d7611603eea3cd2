//! `explain`: what an error code means and what to do about it.

use clap::Args;
use packwright::codes::{self, Explanation};
use packwright::errors::{Failure, Problem};
use serde::Serialize;

use crate::output::{self, Output};
use crate::render::table;

/// Say what an error code means; list all codes without one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  packwright explain axis-unbound
  packwright explain | grep npu-")]
pub struct Explain {
    /// The code, as it stands in an error.
    pub code: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct ExplanationJson {
    code: &'static str,
    title: &'static str,
    text: String,
    part: &'static str,
}

/// Explains one code, or lists all.
pub fn run(args: &Explain, output: &Output) -> Result<(), Failure> {
    let chosen = match &args.code {
        Some(code) => vec![find(code)?],
        None => codes::all(),
    };
    if args.json {
        let list: Vec<_> = chosen.into_iter().map(json).collect();
        return output::print_json(&list);
    }
    if let (Some(_), [one]) = (&args.code, &chosen[..]) {
        let text = format!(
            "{} ({})\n\n{}\n\n{}\n",
            one.code, one.part, one.title, one.text
        );
        return output::print(&text);
    }
    let mut list = table::table(&["<code", "<part", "<meaning"], output.width());
    for one in &chosen {
        list.add_row([one.code, one.part, one.title]);
    }
    output::print(&table::text(&list))
}

fn find(code: &str) -> Result<Explanation, Failure> {
    codes::find(code).ok_or_else(|| {
        let near = codes::near(code);
        let help = match near.is_empty() {
            true => "`packwright explain` lists all codes".to_owned(),
            false => format!("did you mean {}?", near.join(", ")),
        };
        Problem::error("code-unknown", format!("there is no code `{code}`"))
            .help(help)
            .into()
    })
}

fn json(explanation: Explanation) -> ExplanationJson {
    let Explanation {
        code,
        title,
        text,
        part,
    } = explanation;
    ExplanationJson {
        code,
        title,
        text,
        part,
    }
}
