//! Metrics of this process, under the names of all Prometheus clients
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>). Without `/proc` there are none.

use std::fs;
use std::path::Path;

use super::exposition::{Exposition, Kind};
use crate::core::named_file;

/// Ticks per second in which `/proc` reports CPU time: Linux shows programs 100, whatever the rate of its own clock.
const TICKS: f64 = 100.0;

/// Maximum size of a file of `/proc`, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Writes the known values.
pub(super) fn write(out: &mut Exposition, started: i64) {
    let read = |name: &str| {
        let bytes = named_file::read(&Path::new("/proc/self").join(name), MAX_BYTES).ok()?;
        String::from_utf8(bytes).ok()
    };
    out.family("process_start_time_seconds", Kind::Gauge, "When the process started, unix seconds").value(&[], started);
    if let Some(seconds) = read("stat").and_then(|stat| cpu_seconds(&stat)) {
        out.family("process_cpu_seconds", Kind::Counter, "Computing time, user and system").value(&[], seconds);
    }
    if let Some(status) = read("status") {
        for (line, name, help, unit) in [
            ("VmRSS:", "process_resident_memory_bytes", "Resident memory", 1024),
            ("VmSize:", "process_virtual_memory_bytes", "Virtual memory", 1024),
            ("Threads:", "process_threads", "Threads", 1),
        ] {
            if let Some(value) = figure(&status, line) {
                out.family(name, Kind::Gauge, help).value(&[], value * unit);
            }
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        out.family("process_open_fds", Kind::Gauge, "Open file descriptors").value(&[], open.count());
    }
    if let Some(most) = read("limits").and_then(|limits| figure(&limits, "Max open files")) {
        out.family("process_max_fds", Kind::Gauge, "Maximum number of open file descriptors").value(&[], most);
    }
}

/// The first number after these words at the beginning of a line.
fn figure(text: &str, words: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(words))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The 14th and 15th field of `/proc/self/stat`. The second, the name, is in parentheses and may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut behind_name = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || behind_name.next()?.parse::<u32>().ok();
    Some((f64::from(ticks()?) + f64::from(ticks()?)) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_and_figures_are_read_from_proc() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        assert_eq!(figure("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(figure("Max open files  1024  4096  files\n", "Max open files"), Some(1024));
        assert_eq!(figure("Max open files  unlimited\n", "Max open files"), None);
    }
}
