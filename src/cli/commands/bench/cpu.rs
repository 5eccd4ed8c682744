//! CPU time of child processes from the kernel, and the reference.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::core::named_file;

/// Ticks per second in which Linux reports the time of processes, the same on every machine (`USER_HZ`).
const TICKS: u32 = 100;

/// Maximum size to read; the files below are much smaller.
const MAX_BYTES: u64 = 64 << 10;

/// CPU time of all children that have ended and were waited for.
///
/// # Errors
/// There is no `/proc`, as on systems other than Linux.
pub(super) fn of_children() -> Result<Duration, String> {
    let stat = read("/proc/self/stat")?;
    // proc(5): after the name, which is in parentheses, the times of the children are the 14th and the 15th field.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let ticks: Vec<u32> = fields.skip(13).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    match ticks.as_slice() {
        [user, system] => Ok(Duration::from_secs((user + system).into()) / TICKS),
        _ => Err("/proc/self/stat is not as proc(5) says".to_owned()),
    }
}

/// The peak memory of a process, in MiB.
///
/// # Errors
/// As for [`of_children`].
pub(super) fn peak_memory(child: &Child) -> Result<u64, String> {
    let status = read(&format!("/proc/{}/status", child.id()))?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib / 1024).ok_or_else(|| "the kernel does not report the memory of a process".to_owned())
}

fn read(path: &str) -> Result<String, String> {
    let bytes = named_file::read(Path::new(path), MAX_BYTES);
    let bytes = bytes.map_err(|error| format!("{path} can't be read (only Linux has it): {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Nanoseconds of `gzip -1` per log for these events of this many logs; none if there is no gzip.
pub(super) fn gzip_each(events: &[u8], logs: usize) -> Option<f64> {
    // Enough repetitions to be measurable in ticks.
    const MIN_COMPRESSED: usize = 64 << 20;
    let times = MIN_COMPRESSED.div_ceil(events.len().max(1));
    let before = of_children().ok()?;
    let gzip = Command::new("gzip").arg("-1").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut gzip = gzip.ok()?;
    let mut input = gzip.stdin.take()?;
    let written = (0..times).try_for_each(|_| input.write_all(events));
    drop(input);
    let ended = gzip.wait().ok()?;
    let took = of_children().ok()?.saturating_sub(before);
    (written.is_ok() && ended.success()).then(|| took.as_nanos() as f64 / (times * logs) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_time_of_children_is_read_and_never_less_than_before() {
        let before = of_children().unwrap();
        assert!(Command::new("true").status().unwrap().success());
        assert!(of_children().unwrap() >= before);
    }
}
