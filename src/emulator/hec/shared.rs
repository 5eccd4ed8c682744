//! A collector and the controls of its sockets.

use std::time::Instant;

use tokio::sync::watch;

use super::collector::Collector;

/// A collector and the controls of its sockets.
#[derive(Debug)]
pub(super) struct CollectorShared {
    pub(super) collector: Collector,
    pub(super) refuse_until: watch::Sender<Option<Instant>>,
    pub(super) close_idle: watch::Sender<()>,
}

impl CollectorShared {
    pub(super) fn new(collector: Collector) -> Self {
        Self { collector, refuse_until: watch::Sender::new(None), close_idle: watch::Sender::new(()) }
    }

    /// Stops listening and drops all connections until then.
    pub(super) fn refuse_until(&self, end: Option<Instant>) {
        self.refuse_until.send_replace(end);
    }

    /// An indexer dies, and with the last one the address.
    pub(super) fn kill(&self, indexer: usize, until: Instant) {
        if !self.collector.kill(indexer, until, Instant::now()) {
            self.refuse_until(Some(until));
        }
    }

    /// Closes the connections that wait for a request, and the others after their reply.
    pub(super) fn close_idle(&self) {
        self.close_idle.send_replace(());
    }

    /// Forgets every fault, and listens.
    pub(super) fn clear_faults(&self) {
        self.collector.state().faults.clear();
        self.refuse_until(None);
    }
}
