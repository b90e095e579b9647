//! Where does the daemon listen, and who may connect?

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, PermissionsExt, chown},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::unistd::Group;
use rustix::{fs::Mode, process::umask};

/// A socket that is removed when nobody listens there any more.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// The listener, which may be had again and again.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

/// What is left behind would keep the next daemon from listening.
impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Where whoever may only read connects, beside the socket of those who may change something.
#[must_use]
pub fn for_readers(socket: &Path) -> PathBuf {
    socket.with_file_name("read.sock")
}

/// Looks, a fiftieth of a second apart, at whether somebody answers on the socket still.
const DYING_LOOKS: u32 = 50;

/// Listens on the unix socket, for its owner and the members of a group.
pub fn listen(socket: &Path, group: Option<&str>) -> io::Result<Socket> {
    let group = group.map(group_number).transpose()?;
    if let Some(folder) = socket.parent() {
        // What is private in it is in folders of its own.
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    // A socket that nobody answers is left over from a daemon that was killed; one that is
    // being killed answers for a moment. Whatever else lies there is not ours to remove.
    let is_socket =
        || fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket());
    let is_answered = || UnixStream::connect(socket).is_ok();
    for _ in 0..DYING_LOOKS {
        if !is_socket() {
            break;
        }
        if !is_answered() {
            fs::remove_file(socket)?;
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    // Nobody connects before its group is known.
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(socket);
    umask(before);
    let listener = listener.map_err(|error| {
        if error.kind() != io::ErrorKind::AddrInUse {
            return error;
        }
        let what = if is_socket() { "another daemon answers there" } else { "it is no socket" };
        io::Error::new(error.kind(), what)
    })?;
    let socket = Socket { path: socket.to_owned(), listener };
    if let Some(group) = group {
        chown(&socket.path, None, Some(group))?;
    }
    fs::set_permissions(&socket.path, fs::Permissions::from_mode(0o660))?;
    Ok(socket)
}

fn group_number(name: &str) -> io::Result<u32> {
    let found = Group::from_name(name)?;
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("there is no group {name:?}"));
    Ok(found.ok_or_else(unknown)?.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_dead_daemons_socket_is_replaced_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("sekisho-listen-{}", std::process::id()));
        let socket = folder.join("control.sock");
        let listen = |path: &Path| listen(path, None);
        let living = listen(&socket).expect("the folder is made");
        let why = |refused: io::Result<Socket>| refused.expect_err("it is taken").to_string();
        assert_eq!(why(listen(&socket)), "another daemon answers there");
        drop(living);
        assert!(!socket.exists(), "it is left behind");
        drop(UnixListener::bind(&socket).expect("of a daemon that was killed"));
        drop(listen(&socket).expect("nobody answers any more"));
        let file = folder.join("precious");
        fs::write(&file, "text").expect("a file of our own");
        assert_eq!(why(listen(&file)), "it is no socket");
        assert_eq!(fs::read_to_string(&file).expect("it is still there"), "text");
        fs::remove_dir_all(&folder).expect("a folder of our own");
    }

    #[test]
    fn a_socket_is_its_owners_and_its_groups() {
        let folder = std::env::temp_dir().join(format!("sekisho-group-{}", std::process::id()));
        let path = folder.join("control.sock");
        let refused = listen(&path, Some("no such group")).expect_err("there is none");
        assert!(refused.to_string().contains("no group \"no such group\""), "{refused}");
        let _socket = listen(&path, None).expect("no group is named");
        let found = fs::metadata(&path).expect("it is there");
        assert_eq!(found.mode() & 0o7777, 0o660);
        assert_eq!(fs::metadata(&folder).expect("it is made").mode() & 0o777, 0o755);
        fs::remove_dir_all(&folder).expect("a folder of our own");
    }
}
