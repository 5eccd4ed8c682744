//! One process of the program.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::bench::until;

/// Killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    printed: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let printed = Arc::<Mutex<String>>::default();
        let outputs: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|out| Box::new(out) as _), child.stderr.take().map(|err| Box::new(err) as _)];
        let readers = outputs.into_iter().flatten().map(|output| {
            let printed = Arc::clone(&printed);
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let mut printed = printed.lock().unwrap();
                    printed.push_str(&line);
                    printed.push('\n');
                }
            })
        });
        let readers = readers.collect();
        Self { name: name.to_owned(), child, printed, readers }
    }

    /// Its output so far.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap().clone()
    }

    /// The number of its lines that contain these words.
    pub fn says(&self, words: &str) -> usize {
        self.printed().lines().filter(|line| line.contains(words)).count()
    }

    /// Waits until its output contains these words.
    pub async fn to_say(&self, words: &str) {
        until(&format!("{} says {words:?}", self.name), 30, || self.says(words) > 0).await;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its peak memory, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
    }

    #[expect(unsafe_code, reason = "sends signals as an operator does")]
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: kill has no memory to misuse, and the child has not been waited for, so the pid is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit code, once it has ended by itself and all its output was read; `None` if a signal ended it.
    pub async fn exit(&mut self, within: Duration) -> Option<i32> {
        until(&format!("{} ends", self.name), within.as_secs().max(1), || !self.is_running()).await;
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {} printed:\n{}", self.name, self.printed.lock().unwrap_or_else(|dead| dead.into_inner()));
        }
    }
}
