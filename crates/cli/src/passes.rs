//! Graph passes by name.

use packwright_compile::pass::PASSES;
use packwright_compile::pipeline;
use packwright_ir::Graph;

use crate::codes;
use crate::errors::{Failure, Problem};

/// A pass as lists show it.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    pub name: &'static str,
    /// What it does, one sentence.
    pub what: &'static str,
}

/// All passes, in the order of the pipeline.
pub fn all() -> Vec<Listed> {
    PASSES
        .iter()
        .map(|pass| Listed {
            name: pass.name,
            what: pass.what,
        })
        .collect()
}

/// Complains unless there is a pass of that name.
///
/// # Errors
/// Names the passes that look like it.
pub fn known(name: &str) -> Result<(), Failure> {
    if all().iter().any(|pass| pass.name == name) {
        return Ok(());
    }
    let near = codes::nearest(name, all().iter().map(|pass| pass.name));
    let help = match near.is_empty() {
        true => "`packwright opt --list` lists all passes".to_owned(),
        false => format!("did you mean {}?", near.join(", ")),
    };
    Err(
        Problem::error("pass-unknown", format!("there is no pass `{name}`"))
            .help(help)
            .into(),
    )
}

/// Runs one pass.
///
/// # Errors
/// When there is no such pass, or it cannot handle the graph.
pub fn run(name: &str, graph: &mut Graph) -> Result<(), Failure> {
    known(name)?;
    pipeline::run_pass(name, graph)?;
    Ok(())
}
