//! Captures what the code under test logs.

use std::sync::{Arc, Mutex};

/// Lines of a log.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Captures what this thread logs, as long as the first returned value lives.
pub fn log() -> (impl Sized, Lines) {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With only one subscriber, a call site that another thread reaches first asks only the subscriber of that
    // thread, which is none, and stays disabled. With a second subscriber, it asks all of them.
    let second = tracing::Dispatch::new(tracing_subscriber::registry());
    ((second, tracing::subscriber::set_default(log)), lines)
}
