//! The signals that the program handles.

/// The signals that ask a program to stop.
#[cfg(unix)]
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal; returns its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The signals that raise and lower the level of the log.
#[cfg(unix)]
pub(crate) struct LevelSignals {
    more: tokio::signal::unix::Signal,
    less: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl LevelSignals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self { more: signal(SignalKind::user_defined1())?, less: signal(SignalKind::user_defined2())? })
    }

    /// Waits for the next signal; returns whether it raises the level.
    pub(crate) async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.more.recv() => true,
            _ = self.less.recv() => false,
        }
    }
}

/// There are no such signals.
#[cfg(windows)]
pub(crate) struct LevelSignals;

#[cfg(windows)]
impl LevelSignals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) -> bool {
        std::future::pending().await
    }
}

/// The signals that ask a program to stop.
#[cfg(windows)]
pub(crate) struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    /// Waits for the next signal; returns its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        self.0.recv().await;
        "Ctrl-C"
    }
}
