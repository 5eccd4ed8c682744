//! Checks the directories and files that the program writes to.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::finding::{Findings, Level};
use crate::core::named_file;
use crate::dead_letter;
use crate::settings::{AdminListen, Settings};

/// Minimum free space for dead letters.
const MIN_FREE: u64 = 200_000_000;

pub(super) fn check(findings: &Findings, settings: &Settings) {
    state(findings, &settings.state_dir);
    letters(findings, settings);
    if let Some(file) = &settings.log.file {
        log_file(findings, file);
    }
    if let AdminListen::Tcp(address) = settings.admin {
        listener(findings, address);
    }
}

/// The program works without it, with consequences.
fn state(findings: &Findings, dir: &Path) {
    let shown = dir.display();
    match takes(&dir.join("file")) {
        Ok(()) => findings.ok(format!("state.dir {shown} can be written to")),
        Err(error) => findings.warn(
            format!(
                "state.dir {shown} cannot be used: {error}; after a restart, the shards wait for the group's \
                 timeout, and a script that does not load prevents the start"
            ),
            give(dir, "state.dir"),
        ),
    }
}

fn letters(findings: &Findings, settings: &Settings) {
    let dir = &settings.dead_letters.dir;
    let shown = dir.display();
    match takes(&dir.join("file")) {
        Ok(()) if dead_letter::is_in_use(dir) => findings.ok(format!(
            "dead_letters.dir {shown} is in use by a running forwarder; a second one creates its own directory below it"
        )),
        Ok(()) => findings.ok(format!("dead_letters.dir {shown} can be written to")),
        Err(error) => {
            let is_denied = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
            let level = if is_denied { Level::DENIED } else { Level::SETUP };
            findings.fail(
                level,
                format!("dead_letters.dir {shown} cannot be used: {error}"),
                give(dir, "dead_letters.dir"),
            );
            return;
        }
    }
    if let Ok(free) = named_file::free_bytes(&nearest(dir))
        && free < MIN_FREE
    {
        findings.warn(
            format!(
                "only {} MB are free for dead letters ({shown}); shards are paused when the disk is full",
                free / 1_000_000
            ),
            "make room, or set dead_letters.dir to another disk",
        );
    }
}

fn log_file(findings: &Findings, file: &Path) {
    let shown = file.display();
    let opened = if file.exists() { named_file::append(file).map(drop) } else { takes(file) };
    match opened {
        Ok(()) => findings.ok(format!("log.file {shown} can be written to")),
        Err(error) => {
            findings.fail(
                Level::SETUP,
                format!("log.file {shown} cannot be written to: {error}"),
                give(file, "log.file"),
            );
        }
    }
}

fn listener(findings: &Findings, address: SocketAddr) {
    match TcpListener::bind(address) {
        Ok(_) if address.port() == 0 => {
            findings.ok(format!("admin.listen {address} takes a free port, which the log names"));
        }
        Ok(_) => findings.ok(format!("admin.listen {address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => findings.warn(
            format!("another process already listens on admin.listen {address}"),
            "no action if it is the forwarder running with these settings; otherwise set another port",
        ),
        Err(error) => findings.fail(
            Level::SETUP,
            format!("admin.listen {address} cannot be listened on: {error}"),
            "give it an address of this machine and a free port",
        ),
    }
}

/// The nearest existing directory: itself, or an ancestor.
fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Whether a file can be created here: creates and removes one in the nearest existing directory, so that no file is
/// left that a service of another user could not open.
pub(super) fn takes(path: &Path) -> io::Result<()> {
    let dir = nearest(path.parent().unwrap_or(path));
    if !dir.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a directory", dir.display())));
    }
    named_file::check_dir(&dir)?;
    let trial = dir.join(format!(".forwarder-check-{}", std::process::id()));
    named_file::create(&trial)?;
    std::fs::remove_file(&trial)
}

fn give(path: &Path, setting: &str) -> String {
    let user = named_file::user();
    format!("let uid {user} write to {}, or set {setting} to another place", nearest(path).display())
}
