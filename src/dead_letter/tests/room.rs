//! The size limit, full disks, and disks that fail to sync.

use super::*;

#[test]
fn at_the_size_limit_nothing_is_written_and_the_error_names_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let cap = lines(&[record(1), record(2)]).len() as u64;
    let letters = DirectoryStore::open(Config { dir: dir.path().to_owned(), max_bytes: cap }).unwrap();
    letters.append(&[record(1)]).unwrap();
    let fault = letters.append(&[record(2), record(3)]).unwrap_err();
    assert!(matches!(fault, StoreError::Full { limit: Limit::Cap { cap: named, .. }, .. } if named == cap), "{fault}");
    assert!(fault.to_string().contains(&format!("exceed the limit of {cap};")), "{fault}");
    letters.append(&[record(2)]).unwrap();
    assert_eq!(readable(dir.path()), [record(1), record(2)]);

    fs::rename(dir.path().join(FILE), dir.path().join("seen.jsonl")).unwrap();
    letters.append(&[record(3)]).unwrap();
    assert_eq!(readable(dir.path()), [record(3)]);
}

#[test]
fn dead_letters_that_a_replay_has_set_aside_count_towards_the_size_limit() {
    let dir = tempfile::tempdir().unwrap();
    let cap = lines(&[record(1), record(2)]).len() as u64;
    let letters = DirectoryStore::open(Config { dir: dir.path().to_owned(), max_bytes: cap }).unwrap();
    letters.append(&[record(1), record(2)]).unwrap();
    let taken = take(dir.path());
    let fault = letters.append(&[record(3)]).unwrap_err();
    assert!(matches!(fault, StoreError::Full { limit: Limit::Cap { used, .. }, .. } if used == cap), "{fault}");
    drop(taken);
    assert!(letters.append(&[record(3)]).is_err(), "they were not delivered");
    fs::remove_file(dir.path().join("dead-letters.1.jsonl")).unwrap();
    letters.append(&[record(3)]).unwrap();
}

#[test]
fn dead_letters_that_fit_no_file_are_refused_with_the_needed_limit() {
    let dir = tempfile::tempdir().unwrap();
    let needed = lines(&[record(1), record(2)]).len() as u64;
    let letters = DirectoryStore::open(Config { dir: dir.path().to_owned(), max_bytes: needed - 1 }).unwrap();
    let fault = letters.append(&[record(1), record(2)]).unwrap_err();
    assert!(matches!(fault, StoreError::Full { limit: Limit::Together { more, .. }, .. } if more == needed), "{fault}");
    assert!(!fault.to_string().contains("move"), "there is nothing to move: {fault}");
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge] {
        let fault = StoreError::of("write to", Path::new(FILE))(kind.into());
        assert!(matches!(fault, StoreError::Full { limit: Limit::Disk(_), .. }), "{fault}");
    }
}

/// Mounts a file system at `target` that only the calling thread sees and that disappears with it. Returns whether
/// that is allowed: it requires root.
#[expect(unsafe_code, reason = "mounts a file system for one thread")]
fn mounted(target: &Path, options: &str) -> bool {
    let ok = |status: io::Result<std::process::ExitStatus>| status.is_ok_and(|status| status.success());
    // SAFETY: unshare(2) touches no memory; it separates the mounts of this thread and its children from the others.
    let alone = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let mount = |args: &[&str]| ok(Command::new("mount").args(args).stderr(Stdio::null()).status());
    let done = alone
        && mount(&["--make-rprivate", "/"])
        && mount(&["-t", "tmpfs", "-o", options, "none", target.to_str().unwrap()]);
    if !done {
        eprintln!("not tested: mounting a tmpfs takes root");
    }
    done
}

#[test]
fn a_full_disk_leaves_whole_lines_and_writing_continues_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    if !mounted(dir.path(), "size=128k") {
        return;
    }
    let letters = open(dir.path()).unwrap();
    letters.append(&[record(1)]).unwrap();
    let ballast = dir.path().join("ballast");
    fs::write(&ballast, vec![0; 100 * 1024]).unwrap();
    let large = Record { event: Some(vec![b'x'; 60 * 1024]), ..record(2) };
    for _ in 0..3 {
        let fault = letters.append(std::slice::from_ref(&large)).unwrap_err();
        assert!(matches!(fault, StoreError::Full { limit: Limit::Disk(_), .. }), "{fault}");
        assert_eq!(readable(dir.path()), [record(1)]);
    }

    // Starting with a full disk and an incomplete last line that cannot be moved is no error either.
    drop(letters);
    let path = dir.path().join(FILE);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&[b'x'; 10_000]).unwrap();
    let filler = dir.path().join("filler");
    assert_eq!(fs::write(&filler, vec![0; 128 * 1024]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    let room = fs::metadata(&filler).unwrap().len().checked_sub(8 * 1024).unwrap();
    OpenOptions::new().write(true).open(&filler).unwrap().set_len(room).unwrap();
    let letters = open(dir.path()).unwrap();
    assert!(matches!(letters.append(&[record(3)]).unwrap_err(), StoreError::Full { .. }));
    assert_eq!(fs::metadata(dir.path().join("dead-letters.torn")).unwrap().len(), 0);

    fs::remove_file(&ballast).unwrap();
    letters.append(&[large.clone(), record(3)]).unwrap();
    assert_eq!(readable(dir.path()), [record(1), large, record(3)]);
}

/// Runs `work` in a thread in which this system call fails with EIO, if the system allows it.
#[expect(unsafe_code, reason = "has the kernel fail a system call of one thread")]
fn where_fails<T: Send>(call: libc::c_long, work: impl FnOnce() -> T + Send) -> Option<T> {
    let step = |code: u32, skip: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: skip, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::EIO as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
            // SAFETY: the kernel reads the program, which outlives the calls; it applies to this thread only.
            let done = unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                    && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
            };
            if !done {
                eprintln!("not tested: the system takes no filter of calls");
            }
            done.then(work)
        });
        thread.join().unwrap()
    })
}

#[test]
fn f75_dead_letters_whose_fsync_fails_do_not_count_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let letters = open(dir.path()).unwrap();
    letters.append(&[record(1)]).unwrap();
    let Some(refused) = where_fails(libc::SYS_fdatasync, || letters.append(&[record(2)])) else { return };
    assert!(matches!(refused, Err(StoreError::Io { doing: "write to", .. })), "{refused:?}");
    assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), lines(&[record(1)]));
    letters.append(&[record(3)]).unwrap();
    assert_eq!(readable(dir.path()), [record(1), record(3)]);
}

#[test]
fn a_file_whose_directory_entry_is_not_fsynced_takes_no_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let letters = open(dir.path()).unwrap();
    fs::remove_file(dir.path().join(FILE)).unwrap();
    let Some(refused) = where_fails(libc::SYS_fsync, || letters.append(&[record(1)])) else { return };
    assert!(matches!(refused, Err(StoreError::Io { doing: "sync the directory of", .. })), "{refused:?}");
    assert_eq!(readable(dir.path()), []);
    let new = dir.path().join("a/b");
    let refused = where_fails(libc::SYS_fsync, || open(&new)).unwrap();
    assert!(matches!(refused, Err(OpenError::Io { doing: "create", .. })), "{refused:?}");
}

#[test]
fn f82_replayed_dead_letters_are_removed_only_once_their_delivery_is_fsynced() {
    let dir = dir_with(&lines(&[record(1), record(2)]));
    let mut taken = take(dir.path());
    let Some(noted) = where_fails(libc::SYS_fdatasync, || taken.note_delivered([record(1)].iter())) else { return };
    assert!(noted.is_err());
    let noted = where_fails(libc::SYS_fsync, || taken.note_delivered([record(1)].iter())).unwrap();
    assert!(noted.is_err());
    let set_aside = dir.path().join("dead-letters.1.jsonl");
    let before = fs::read(&set_aside).unwrap();
    let closed = where_fails(libc::SYS_fdatasync, || taken.close()).unwrap();
    assert!(closed.is_err());
    assert_eq!(fs::read(&set_aside).unwrap(), before, "the new file took its place unconfirmed");
    take(dir.path()).close().unwrap();
    assert_eq!(logs(dir.path()), [2]);

    // If these ids were still there after a power failure, new dead letters with the same ids would count as
    // delivered.
    let mut taken = take(dir.path());
    taken.note_delivered([record(2)].iter()).unwrap();
    fs::remove_file(&set_aside).unwrap();
    let closed = where_fails(libc::SYS_fsync, || taken.close()).unwrap();
    assert!(matches!(closed, Err(StoreError::Io { doing: "remove", .. })), "{closed:?}");
}

#[test]
fn a_read_only_file_system_is_reported_at_the_start_with_path_and_uid() {
    let dir = tempfile::tempdir().unwrap();
    if mounted(dir.path(), "ro") {
        let error = open(&dir.path().join("a/b")).unwrap_err();
        assert!(matches!(&error, OpenError::Denied { cause, .. } if cause.kind() == io::ErrorKind::ReadOnlyFilesystem));
        assert!(error.to_string().contains("a/b: Read-only file system (os error 30) (running as uid 0)"), "{error}");
    }
}
