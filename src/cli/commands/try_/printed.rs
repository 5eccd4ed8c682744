//! Captures the output of a script during a try: the lines of `print` and `logger`, shown below their log.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The target of the script's lines in the program's log.
const TARGET: &str = "script";

/// The lines since they were last taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Printed(Arc<Mutex<Vec<String>>>);

impl Printed {
    /// The lines, oldest first.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Subscriber> Layer<S> for Printed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != TARGET {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let level = event.metadata().level().as_str().to_lowercase();
        let place = if line.at.is_empty() { String::new() } else { format!("{}: ", line.at) };
        let text = format!("{level} {place}{}", line.message);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// A line of the script, already escaped.
#[derive(Default)]
struct Line {
    at: String,
    message: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "at" {
            self.at = value.to_owned();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => write!(self.message, "{value:?}").expect("writing to a String cannot fail"),
            "at" => self.at = format!("{value:?}").trim_matches('"').to_owned(),
            _ => {}
        }
    }
}
