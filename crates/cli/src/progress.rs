//! A sign of life on standard error while work takes longer than a second.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// How long work stays silent.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shows itself while it lives, if that is long.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    done: Option<Sender<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl Progress {
    /// Work of unknown length.
    pub fn spinner(output: &Output, what: impl Into<String>) -> Self {
        Self::start(
            output,
            ProgressBar::hidden(),
            "{spinner} {msg} {elapsed}",
            what.into(),
        )
    }

    /// Work in `steps` steps.
    pub fn steps(output: &Output, steps: u64, what: impl Into<String>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::hidden());
        Self::start(output, bar, "{bar:30} {pos}/{len} {msg}", what.into())
    }

    fn start(output: &Output, bar: ProgressBar, style: &str, what: String) -> Self {
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(what);
        if output.quiet || !io::stderr().is_terminal() {
            return Self {
                bar,
                done: None,
                watcher: None,
            };
        }
        let (done, wait) = mpsc::channel();
        let shown = bar.clone();
        let watcher = thread::spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(Duration::from_millis(100));
            }
        });
        Self {
            bar,
            done: Some(done),
            watcher: Some(watcher),
        }
    }

    /// One step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// Says what is being done now.
    pub fn say(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
        self.bar.finish_and_clear();
    }
}
