//! Who may use the directory: its owner alone, and one process at a time.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

#[test]
fn a_symbolic_link_in_place_of_the_dead_letters_is_not_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("passwd");
    let torn = [lines(&[record(1)]), b"user secret".to_vec()].concat();
    fs::write(&target, &torn).unwrap();
    for name in [FILE, "dead-letters.lock"] {
        let dir = tempfile::tempdir().unwrap();
        symlink(&target, dir.path().join(name)).unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("it is a symbolic link"), "{error}");
    }
    for name in [FILE, "dead-letters.1.jsonl", "replay.lock"] {
        let dir = tempfile::tempdir().unwrap();
        symlink(&target, dir.path().join(name)).unwrap();
        let error = ReplayClaim::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains("it is a symbolic link"), "{name}: {error}");
        assert!(dir.path().join(name).is_symlink(), "{name} was moved");
    }
    // Also while a forwarder runs.
    let dir = tempfile::tempdir().unwrap();
    let letters = open(dir.path()).unwrap();
    fs::rename(dir.path().join(FILE), dir.path().join("away")).unwrap();
    symlink(dir.path().join("away"), dir.path().join(FILE)).unwrap();
    letters.append(&[record(2)]).unwrap_err();
    assert_eq!(fs::read(&target).unwrap(), torn);
    assert_eq!(fs::metadata(dir.path().join("away")).unwrap().len(), 0);
}

#[test]
fn a_pipe_in_place_of_the_lock_file_does_not_hang_the_start() {
    for name in ["dead-letters.lock", FILE] {
        let dir = tempfile::tempdir().unwrap();
        assert!(Command::new("mkfifo").arg(dir.path().join(name)).status().unwrap().success());
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("not a regular file but a pipe"), "{error}");
        if name == FILE {
            let error = Reader::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains("not a regular file but a pipe"), "{error}");
        }
    }
}

#[test]
fn dead_letters_are_not_kept_in_a_world_writable_directory() {
    let dir = dir_with(&lines(&[record(1)]));
    let permit = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let refused = |mend: &str| {
        for error in [open(dir.path()).unwrap_err().to_string(), ReplayClaim::take(dir.path()).unwrap_err().to_string()]
        {
            assert!(error.contains(mend), "{error}");
        }
    };
    permit(dir.path(), 0o777);
    refused(&format!("chmod o-w {}", dir.path().display()));
    permit(dir.path(), 0o700);
    permit(&dir.path().join(FILE), 0o666);
    refused(&format!("chmod o-w {}", dir.path().join(FILE).display()));
    permit(&dir.path().join(FILE), 0o660);
    open(dir.path()).unwrap();
}

#[test]
#[expect(unsafe_code, reason = "makes one thread somebody else")]
fn a_directory_of_another_user_is_refused_by_writer_and_reader() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().append(&[record(1)]).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).unwrap();
    for file in fs::read_dir(dir.path()).unwrap() {
        fs::set_permissions(file.unwrap().path(), Permissions::from_mode(0o000)).unwrap();
    }
    // Root may do anything, so this thread alone changes its user. For other users this changes nothing.
    // SAFETY: touches no memory, and on Linux only the calling thread.
    unsafe { libc::setfsuid(65_534) };
    let (writer, reader) = (open(dir.path()), Reader::open(dir.path()));
    let made = open(&dir.path().join("new"));
    // SAFETY: as above.
    unsafe { libc::setfsuid(libc::geteuid()) };
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(writer, Err(OpenError::Denied { .. })), "{writer:?}");
    assert!(matches!(made, Err(OpenError::Denied { .. })), "{made:?}");
    assert!(matches!(reader, Err(ReadError::Denied { .. })), "{reader:?}");
}

#[test]
fn the_directory_and_its_files_are_accessible_to_their_owner_only() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/b");
    let letters = open(&dir).unwrap();
    letters.append(&[record(1)]).unwrap();
    OpenOptions::new().append(true).open(dir.join(FILE)).unwrap().write_all(b"torn").unwrap();
    letters.append(&[record(2)]).unwrap();
    let mut taken = take(&dir);
    taken.note_delivered([record(1)].iter()).unwrap();
    taken.close().unwrap();
    let mut taken = take(&dir);
    taken.note_delivered([record(7)].iter()).unwrap();
    letters.append(&[record(3)]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode(&root.path().join("a")), mode(&dir)], [0o700, 0o700]);
    let mut files = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    files.sort();
    let names = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect::<Vec<_>>();
    let expected = ["dead-letters.1.jsonl", "dead-letters.jsonl", "dead-letters.lock", "dead-letters.torn"];
    assert_eq!(names, [&expected[..], &["replay.lock", "replayed.jsonl"]].concat());
    assert!(files.iter().all(|path| mode(path) == 0o600));
}

/// Set for the other process of the test below: the directory that it opens.
const OTHER_PROCESS: &str = "FORWARDER_TEST_DEAD_LETTERS";

#[test]
fn a_second_process_is_refused_until_the_first_has_ended() {
    if let Some(dir) = std::env::var_os(OTHER_PROCESS) {
        let _letters = open(Path::new(&dir)).unwrap();
        fs::write(Path::new(&dir).join("taken"), "").unwrap();
        io::stdin().read_line(&mut String::new()).unwrap();
        std::process::abort();
    }
    let dir = tempfile::tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "dead_letter::tests::access::a_second_process_is_refused_until_the_first_has_ended",
            "--nocapture",
        ])
        .env(OTHER_PROCESS, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !dir.path().join("taken").exists() {
        assert_eq!(other.try_wait().unwrap(), None, "the other process ended early");
        std::thread::yield_now();
    }
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    drop(other.stdin.take());
    other.wait().unwrap();
    open(dir.path()).unwrap();
}
