//! The only module that opens files: files named by settings and on the command line, and files in our own
//! directories.
//!
//! A path may lead to a pipe without a writer, an endless device, a link to another user's file, or a file that
//! all users may write to. So a file is opened without blocking, checked through the open descriptor, and refused if
//! it is not as required. Each refusal states the problem and how to correct it.
//!
//! * A file that is only *read* may be reached through links: Kubernetes mounts Secrets and ConfigMaps as links
//!   (`token -> ..data/token`). The target must be a regular file of bounded size.
//! * A file that is *written* must not be reached through a link. It belongs to us, has one name, and is created with
//!   mode 0600.
//! * Files that control the program (settings, scripts, certificates, credentials), and files that it writes, must be
//!   writable only by their owner and group.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::line_file::sync_parent;

/// Maximum number of bytes of a credential file.
pub const MAX_CREDENTIAL_BYTES: u64 = 16 << 10;

/// Maximum number of bytes of a settings file, and of a file with certificates or a key.
pub const MAX_SETTINGS: u64 = 4 << 20;

/// Maximum number of bytes of a file with logs or test cases, which is read into memory as a whole.
pub const MAX_LOGS: u64 = 1 << 30;

/// The permission bit that lets others write.
const OTHERS_WRITE: u32 = 0o002;

/// The permission bit that lets others read.
const OTHERS_READ: u32 = 0o004;

/// The sticky bit: users can remove and rename only their own files in the directory.
const STICKY: u32 = 0o1000;

/// Why a file is refused although the operating system allows access.
#[derive(Debug, thiserror::Error)]
enum Distrust {
    #[error("it is not a regular file but {0}")]
    NotRegular(&'static str),
    #[error("it is a symbolic link, so writes would go to another file: name that file")]
    Link,
    #[error(
        "it has {links} names (hard links), so writes would appear under each: move it away, or cp it \
         and mv the copy to {path}",
        path = path.display()
    )]
    Links { links: u64, path: PathBuf },
    #[error("it belongs to uid {owner}, and this runs as uid {user}: chown {user} {path}", path = path.display())]
    Owner { owner: u32, user: u32, path: PathBuf },
    #[error("it is world-writable (mode {mode:04o}): chmod o-w {path}", path = path.display())]
    Writable { mode: u32, path: PathBuf },
    #[error(
        "it is world-writable, so others could replace files in it (mode {mode:04o}): chmod o-w {path}, or name a \
         directory below it, which is created for this user alone",
        path = path.display()
    )]
    OpenDirectory { mode: u32, path: PathBuf },
    #[error(
        "its directory is world-writable, so others could replace it (mode {mode:04o}): chmod o-w {path}",
        path = path.display()
    )]
    Replaceable { mode: u32, path: PathBuf },
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
}

impl From<Distrust> for io::Error {
    fn from(why: Distrust) -> Self {
        let kind = match why {
            Distrust::TooLarge(_) => io::ErrorKind::FileTooLarge,
            _ => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, why)
    }
}

/// Opens a file of any size for reading.
///
/// # Errors
/// The system's, or it is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let file = open_with(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK), path)?;
    regular(&file.metadata()?)?;
    Ok(file)
}

/// Reads a file of at most `most` bytes, as data.
///
/// # Errors
/// As for [`open`]; [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_whole(&open(path)?, most)
}

/// Reads a file of at most `most` bytes that controls the program.
///
/// # Errors
/// As for [`read`], or it is world-writable.
pub fn read_trusted(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    closed(&file.metadata()?, path)?;
    read_whole(&file, most)
}

/// Whether the file is world-readable.
#[must_use]
pub fn is_public(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.mode() & OTHERS_READ != 0)
}

/// Opens a file of ours for reading and appending. Creates it with mode 0600 if it does not exist.
///
/// # Errors
/// The system's, or it is not a regular file of ours.
pub fn append(path: &Path) -> io::Result<File> {
    ours(OpenOptions::new().read(true).append(true).create(true), path)
}

/// Creates a file of ours with mode 0600.
///
/// # Errors
/// The system's; the file must not exist yet.
pub fn create(path: &Path) -> io::Result<File> {
    ours(OpenOptions::new().append(true).create_new(true), path)
}

/// Creates the file if it does not exist, and locks it until it is closed, unless another process holds the lock.
///
/// # Errors
/// As for [`append`].
#[expect(unsafe_code, reason = "the standard library locks files from Rust 1.89 on")]
pub fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = append(path)?;
    // SAFETY: the descriptor is open for the whole call, and flock(2) touches no memory of ours.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(Some(file));
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        error => Err(error),
    }
}

/// Creates a directory and its missing parents with mode 0700, and syncs them.
///
/// # Errors
/// The system's.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    missing.into_iter().try_for_each(sync_parent)
}

/// Checks that no other user can replace our files in a directory: others must not be able to write to it, unless it is
/// sticky like `/tmp`.
///
/// # Errors
/// The system's, or others can replace files.
pub fn check_dir(dir: &Path) -> io::Result<()> {
    match open_mode(dir)? {
        Some(mode) => Err(Distrust::OpenDirectory { mode, path: dir.to_owned() }.into()),
        None => Ok(()),
    }
}

/// Why others could replace the file: they can write to its directory. `None` if they cannot, or if there is no such
/// directory.
#[must_use]
pub fn replaceable(path: &Path) -> Option<String> {
    let mode = open_mode(parent(path)).ok()??;
    Some(Distrust::Replaceable { mode, path: parent(path).to_owned() }.to_string())
}

/// The mode of a directory in which others can replace files.
fn open_mode(dir: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(dir)?.mode();
    Ok((mode & OTHERS_WRITE != 0 && mode & STICKY == 0).then_some(mode & 0o7777))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The effective user id.
#[must_use]
#[expect(unsafe_code, reason = "the standard library knows no user")]
pub fn user() -> u32 {
    // SAFETY: takes nothing, touches no memory, cannot fail.
    unsafe { libc::geteuid() }
}

/// Free bytes on the disk of a directory that we may use.
///
/// # Errors
/// The system's.
#[expect(unsafe_code, reason = "the standard library knows no file systems")]
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let path = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with NUL, the kernel writes no more than the structure, and all zeros are a valid value
    // of it.
    let found = unsafe {
        if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        found.assume_init()
    };
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Opens a file for writing: not through a link, and only if it has one name, belongs here, and others can neither
/// write to it nor replace it.
fn ours(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = open_with(options.mode(0o600).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW), path)?;
    let found = file.metadata()?;
    regular(&found)?;
    if found.nlink() > 1 {
        return Err(Distrust::Links { links: found.nlink(), path: path.to_owned() }.into());
    }
    belongs_here(&found, path)?;
    closed(&found, path)?;
    match open_mode(parent(path))? {
        Some(mode) => Err(Distrust::Replaceable { mode, path: parent(path).to_owned() }.into()),
        None => Ok(file),
    }
}

/// Opens a file. Opening something other than a regular file can fail with a misleading error (a pipe without a
/// reader fails like a missing device). In that case, the error says what it is.
fn open_with(options: &OpenOptions, path: &Path) -> io::Result<File> {
    options.open(path).map_err(|error| match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() && error.raw_os_error() == Some(libc::ELOOP) => Distrust::Link.into(),
        Ok(found) if !found.is_symlink() && error.kind() != io::ErrorKind::PermissionDenied => {
            regular(&found).err().unwrap_or(error)
        }
        _ => error,
    })
}

fn regular(found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(Distrust::NotRegular(what).into())
}

/// A file to write to must belong to us or to root. Root may also write to files of the owner of the directory:
/// `sudo forwarder dlq` works on the files of the user that the forwarder runs as.
fn belongs_here(found: &Metadata, path: &Path) -> io::Result<()> {
    let (owner, user) = (found.uid(), user());
    if owner == user || owner == 0 {
        return Ok(());
    }
    if user == 0 && fs::metadata(parent(path))?.uid() == owner {
        return Ok(());
    }
    Err(Distrust::Owner { owner, user, path: path.to_owned() }.into())
}

fn closed(found: &Metadata, path: &Path) -> io::Result<()> {
    let mode = found.mode();
    if mode & OTHERS_WRITE != 0 {
        return Err(Distrust::Writable { mode: mode & 0o7777, path: path.to_owned() }.into());
    }
    Ok(())
}

fn read_whole(file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(Distrust::TooLarge(most).into());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    fn file(dir: &Path, mode: u32) -> PathBuf {
        let path = dir.join("file");
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[track_caller]
    fn refused<T>(opened: io::Result<T>, why: &str) {
        let error = opened.err().expect("it is not to be opened").to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn anything_but_a_regular_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, socket) = (dir.path().join("pipe"), dir.path().join("socket"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _socket = UnixListener::bind(&socket).unwrap();
        let all = [
            (pipe.as_path(), "not a regular file but a pipe"),
            (&socket, "not a regular file but a socket"),
            (dir.path(), "not a regular file but a directory"),
            (Path::new("/dev/full"), "not a regular file but a device"),
        ];
        for (path, why) in all {
            refused(open(path), why);
            refused(read_trusted(path, 10), why);
            refused(append(path), why);
            refused(lock(path), why);
        }
    }

    #[test]
    fn a_kubernetes_mount_is_read_and_never_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("..2026")).unwrap();
        fs::write(at("..2026/token"), "secret").unwrap();
        fs::set_permissions(at("..2026/token"), Permissions::from_mode(0o440)).unwrap();
        symlink("..2026", at("..data")).unwrap();
        symlink("..data/token", at("token")).unwrap();
        assert_eq!(read_trusted(&at("token"), 10).unwrap(), b"secret");
        refused(append(&at("token")), "it is a symbolic link");
        symlink("nowhere", at("dangling")).unwrap();
        refused(append(&at("dangling")), "it is a symbolic link");
        assert!(!at("nowhere").exists());
        assert_eq!(read_trusted(&at("dangling"), 10).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_world_writable_file_is_neither_trusted_nor_written_to() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o646, 0o662] {
            let path = file(dir.path(), mode);
            let mend = format!("(mode 0{mode:o}): chmod o-w {}", path.display());
            refused(read_trusted(&path, 10), &mend);
            refused(append(&path), &mend);
            assert_eq!(read(&path, 10).unwrap(), b"content");
        }
        // Group write is allowed: Kubernetes mounts volumes that way.
        let path = file(dir.path(), 0o664);
        read_trusted(&path, 10).unwrap();
        append(&path).unwrap();
        assert!(is_public(&path) && !is_public(&file(dir.path(), 0o640)));
    }

    #[test]
    fn a_hard_linked_file_and_a_file_of_another_user_are_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), 0o600);
        fs::hard_link(&path, dir.path().join("other")).unwrap();
        refused(append(&path), "it has 2 names");
        fs::remove_file(dir.path().join("other")).unwrap();
        append(&path).unwrap();
        if user() == 0 {
            std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
            refused(append(&path), "it belongs to uid 4711, and this runs as uid 0: chown 0 ");
            std::os::unix::fs::chown(dir.path(), Some(4711), None).unwrap();
            append(&path).unwrap();
        }
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), 0o600);
        assert_eq!(read(&path, 7).unwrap(), b"content");
        assert_eq!(read(&path, 6).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        refused(read_trusted(&path, 6), "it has more than 6 bytes");
    }

    #[test]
    fn new_files_are_accessible_to_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let inner = dir.path().join("a/b");
        create_dir(&inner).unwrap();
        append(&inner.join("file")).unwrap();
        create(&inner.join("new")).unwrap();
        assert_eq!(create(&inner.join("new")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!([mode(&dir.path().join("a")), mode(&inner)], [0o700, 0o700]);
        assert_eq!([mode(&inner.join("file")), mode(&inner.join("new"))], [0o600, 0o600]);
    }

    #[test]
    fn a_directory_in_which_anyone_can_replace_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, good) in [(0o777, false), (0o2777, false), (0o1777, true), (0o775, true), (0o755, true)] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(check_dir(dir.path()).is_ok(), good, "{mode:o}");
        }
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        refused(check_dir(dir.path()), &format!("(mode 0777): chmod o-w {}", dir.path().display()));
        let file = dir.path().join("file");
        let why = format!(
            "its directory is world-writable, so others could replace it (mode 0777): chmod o-w {}",
            dir.path().display()
        );
        refused(append(&file), &why);
        assert_eq!(replaceable(&file), Some(why));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
        append(&file).unwrap();
        assert_eq!(replaceable(&file), None);
    }
}
