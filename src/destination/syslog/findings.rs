//! Which targets prove nothing, kept for the next start. This is a hint: if it is missing or wrong, a few more
//! messages are sent twice.

use tokio::task::spawn_blocking;

use crate::core::state_dir::StateDir;

/// Its name in the state directory: the addresses of targets that prove nothing, one per line.
const NAME: &str = "syslog-unproven";

/// Maximum size of the file, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Maximum number of addresses in it.
const MAX_ADDRESSES: usize = 100;

/// The targets that prove nothing, by address: `tls://siem.example:6514`.
#[derive(Debug, Clone)]
pub(super) struct Findings(StateDir);

impl Findings {
    pub(super) fn new(state: StateDir) -> Self {
        Self(state)
    }

    /// Whether it is known to prove nothing.
    pub(super) fn is_doubted(&self, address: &str) -> bool {
        self.read().iter().any(|known| known == address)
    }

    /// Stores the finding in the background, so that delivery does not wait.
    pub(super) fn keep(&self, address: String, doubted: bool) {
        let findings = self.clone();
        // If the process ends before it is written, the next start detects it again.
        drop(spawn_blocking(move || findings.write(address, doubted)));
    }

    fn write(&self, address: String, doubted: bool) {
        if let Some(known) = changed(self.read(), address, doubted)
            && let Err(error) = self.0.write(NAME, known.join("\n").as_bytes())
        {
            tracing::warn!("syslog: cannot save which targets prove nothing: {error}");
        }
    }

    fn read(&self) -> Vec<String> {
        match self.0.read(NAME, MAX_BYTES) {
            Ok(content) => String::from_utf8_lossy(&content.unwrap_or_default()).lines().map(str::to_owned).collect(),
            Err(error) => {
                tracing::warn!("syslog: {NAME} in the state directory cannot be read, and is not used: {error}");
                Vec::new()
            }
        }
    }
}

/// The addresses that prove nothing, the latest last, if that changes them.
fn changed(mut known: Vec<String>, address: String, doubted: bool) -> Option<Vec<String>> {
    if known.contains(&address) == doubted {
        return None;
    }
    known.retain(|other| *other != address);
    if doubted {
        known.push(address);
        known.drain(..known.len().saturating_sub(MAX_ADDRESSES));
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIEM: &str = "tls://siem:6514";

    fn findings() -> (tempfile::TempDir, Findings) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        (dir, Findings::new(state))
    }

    #[test]
    fn the_last_finding_about_a_target_is_known_at_the_next_start() {
        let (_dir, findings) = findings();
        assert!(!findings.is_doubted(SIEM));
        findings.write(SIEM.to_owned(), true);
        findings.write("tls://other:6514".to_owned(), true);
        assert!(findings.is_doubted(SIEM) && !findings.is_doubted("tcp://siem:6514"));
        findings.write(SIEM.to_owned(), false);
        assert!(!findings.is_doubted(SIEM) && findings.is_doubted("tls://other:6514"));
    }

    #[test]
    fn a_damaged_file_is_ignored_and_overwritten() {
        let (_dir, findings) = findings();
        for damaged in [&b"\xff\0tls://siem"[..], &vec![b'x'; 1 << 17]] {
            findings.0.write(NAME, damaged).unwrap();
            assert!(!findings.is_doubted(SIEM));
            findings.write(SIEM.to_owned(), true);
            assert!(findings.is_doubted(SIEM));
        }
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let known = (0..MAX_ADDRESSES).map(|number| number.to_string()).collect();
        let known = changed(known, SIEM.to_owned(), true).unwrap();
        assert_eq!((known.len(), &*known[0], known.last().unwrap().as_str()), (MAX_ADDRESSES, "1", SIEM));
        assert_eq!(changed(known, SIEM.to_owned(), true), None);
    }

    #[test]
    fn without_a_state_directory_nothing_is_known() {
        let findings = Findings::new(StateDir::none());
        findings.write(SIEM.to_owned(), true);
        assert!(!findings.is_doubted(SIEM));
    }
}
