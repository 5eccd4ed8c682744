//! The running program: signals, its status before it has joined, and its own log.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};

use tempfile::TempDir;

use super::cli::program;

/// The running program with an SLS that accepts connections and never answers, in its own directory.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    directory: TempDir,
    _sls: TcpListener,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let sls = TcpListener::bind("127.0.0.1:0").unwrap();
        fs::write(directory.path().join("t.lua"), "function process(log) return nil end\n").unwrap();
        let mut child = program(&["--script", "t.lua", "--hec-url", "http://127.0.0.1:9", "--project", "p"])
            .args(["--logstore", "l", "--group", "g", "--endpoint", &sls.local_addr().unwrap().to_string()])
            .args(arguments)
            .envs([("SLS_AK_ID", "id"), ("SLS_AK_KEY", "c4n4ry"), ("FORWARDER_HEC_TOKEN", "c4n4ry")])
            .current_dir(directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { stderr: BufReader::new(child.stderr.take().unwrap()), child, directory, _sls: sls }
    }

    /// Waits for a log line with these words; returns all of standard error up to it.
    fn wait_for(&mut self, words: &str) -> String {
        let mut read = String::new();
        while !read.contains(words) {
            assert_ne!(self.stderr.read_line(&mut read).unwrap(), 0, "it ended: {read}");
        }
        read
    }

    #[expect(unsafe_code, reason = "sends signals as an operator does")]
    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: kill has no memory to misuse, and the child has not been waited for, so the pid is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// The exit code, and the rest of standard error.
    fn end(mut self) -> (Option<i32>, String, TempDir) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest, self.directory)
    }
}

#[test]
fn sigterm_and_sigint_end_it_with_0() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut running = Running::start(&[]);
        running.wait_for("starting");
        running.signal(signal);
        let (code, stderr, _directory) = running.end();
        assert_eq!(code, Some(0), "{stderr}");
    }
}

#[test]
fn the_start_is_logged_with_source_and_destination_and_the_stop_with_its_deadline() {
    let mut running = Running::start(&["--log-level", "warn"]);
    for (signal, level) in [(libc::SIGUSR2, "ERROR"), (libc::SIGUSR1, "WARN"), (libc::SIGUSR1, "INFO")] {
        // The program listens as soon as this file exists.
        while !running.directory.path().join("state").exists() {
            std::thread::yield_now();
        }
        running.signal(signal);
        running.wait_for(&format!(" INFO log level is {level} from now on"));
    }
    running.signal(libc::SIGTERM);
    let (code, stderr, _directory) = running.end();
    assert_eq!(code, Some(0), "{stderr}");
    let stop = "stopping: delivering and saving logs in flight, up to 25 s; Ctrl-C or SIGTERM again ends it at once";
    assert!(stderr.contains(stop), "{stderr}");
    assert_eq!(stderr.matches("stopping").count(), 1, "{stderr}");

    let mut running = Running::start(&[]);
    let line = running.wait_for("forwarding");
    let line = line.lines().last().unwrap();
    assert!(line.contains(" INFO forwarding source=l endpoint=http://127.0.0.1:"), "{line}");
    let names = " project=p logstore=l group=g consumer=g-";
    let url = " destination=http://127.0.0.1:9/services/collector";
    assert!(line.contains(names) && line.ends_with(url), "{line}");
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_status_is_available_before_the_group_is_joined_and_has_no_secret() {
    let mut running = Running::start(&["--admin-listen", "127.0.0.1:0"]);
    let stderr = running.wait_for(", Prometheus metrics at");
    let address = stderr.rsplit("http://").next().unwrap().split('/').next().unwrap();
    for path in ["/", "/status", "/metrics"] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.contains("join"), "{reply}");
        assert!(!reply.contains("c4n4ry"), "{reply}");
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn without_an_address_the_status_is_at_a_socket_of_this_user() {
    let get = |path: &Path| {
        let mut stream = UnixStream::connect(path).unwrap();
        write!(stream, "GET /status HTTP/1.0\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.contains("200 OK") && reply.contains("\"verdict\"") && !reply.contains("c4n4ry"), "{reply}");
    };
    let mut running = Running::start(&[]);
    running.wait_for("reach this process at unix:state/forwarder.sock");
    let path = running.directory.path().join("state/forwarder.sock");
    get(&path);
    assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
    running.signal(libc::SIGTERM);
    let (code, stderr, directory) = running.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!directory.path().join("state/forwarder.sock").exists());

    let elsewhere = directory.path().join("own/x.sock");
    let mut running = Running::start(&["--admin-listen", &format!("unix:{}", elsewhere.display())]);
    running.wait_for("reach this process at unix:/");
    get(&elsewhere);
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_log_goes_to_the_file_too_and_is_complete_at_the_end() {
    let mut running = Running::start(&["--log-file", "own.log", "--log-format", "json"]);
    let first = running.wait_for("starting");
    running.signal(libc::SIGTERM);
    let (code, rest, directory) = running.end();
    assert_eq!(code, Some(0));
    let file = fs::read_to_string(directory.path().join("own.log")).unwrap();
    let messages = |lines: &str| -> Vec<_> {
        let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(messages(&file).last().unwrap(), "stopped");
    // Lines that two threads log at the same time can be in different order in the two outputs.
    let sorted = |lines: &str| {
        let mut messages = messages(lines);
        messages.sort();
        messages
    };
    assert_eq!(sorted(&file), sorted(&(first + &rest)));
    assert!(!file.contains("c4n4ry"));
}

#[test]
fn a_log_file_that_cannot_be_opened_ends_with_2() {
    let running = Running::start(&["--log-file", "t.lua/own.log"]);
    let (code, stderr, _directory) = running.end();
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("cannot write the log: t.lua/own.log: "), "{stderr}");
}
