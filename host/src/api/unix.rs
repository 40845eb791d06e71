//! Sockets that are files, which nobody but their owner can reach.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;
use uuid::Uuid;

/// How long another server that begins may keep the folder.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket that is bound. Its file goes away with it.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    pub(crate) socket: UnixListener,
    file: SocketFile,
}

/// The file of a socket, removed when dropped unless another one stands there by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Its device and its number.
    identity: (u64, u64),
}

impl UnixSocket {
    /// Binds a socket in a folder. The file of a server that is gone is replaced; that of one that
    /// answers is not, and neither is anything but a socket.
    pub(crate) fn bind(folder: &Path, name: &str) -> io::Result<Self> {
        if name.contains('/') {
            return Err(ErrorKind::InvalidFilename.into());
        }
        let path = folder.join(name);
        // Too long a path could be bound by a way around, but nobody could connect.
        SocketAddr::from_pathname(&path)?;
        // Of two servers that begin at the same time, one finds the other's socket.
        let turn = File::open(folder)?;
        lock(&turn)?;
        refuse_taken(&path)?;
        // Made where nobody else can go, it is private from the first moment on.
        let private = PrivateFolder::make(folder)?;
        let made = private.0.join("s");
        let socket = UnixListener::bind(&made)?;
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        let identity = identity(&made)?;
        fs::rename(&made, &path)?;
        let file = SocketFile { path, identity };
        Ok(Self { socket, file })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// A folder for one moment, that nobody else can look into.
struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn make(folder: &Path) -> io::Result<Self> {
        let name = Uuid::new_v4().simple().to_string();
        // Short, since a socket's path must be.
        let path = folder.join(format!(".{}", name.get(..8).unwrap_or_default()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Takes a lock that others hold for a moment.
fn lock(file: &File) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::TimedOut.into()),
        }
    }
}

/// Refuses a path where something is that must stay.
fn refuse_taken(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => return Err(ErrorKind::AlreadyExists.into()),
        Ok(_) => {}
    }
    // Not waited for: one that has too many waiting for it is there.
    let asking = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match asking.connect(&SockAddr::unix(path)?) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::UnixSocket;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("keyref-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn one_who_keeps_the_folder_is_not_waited_for_without_end() {
        let folder = folder();
        let kept = fs::File::open(&folder).unwrap();
        kept.lock().unwrap();
        let refused = UnixSocket::bind(&folder, "a.socket").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
        kept.unlock().unwrap();
        drop(UnixSocket::bind(&folder, "a.socket").unwrap());
        fs::remove_dir(folder).unwrap();
    }

    #[tokio::test]
    async fn a_socket_is_private_and_goes_away() {
        let folder = folder();
        let socket = UnixSocket::bind(&folder, "a.socket").unwrap();
        let path = folder.join("a.socket");
        assert_eq!(socket.path(), path);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = UnixSocket::bind(&folder, "a.socket").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        drop(socket);
        // Nothing is left, the folder in which it was made no more than itself.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(folder).unwrap();
    }

    #[tokio::test]
    async fn only_what_is_dead_is_replaced() {
        let folder = folder();
        let path = folder.join("a.socket");
        // The file of a server that was killed stays.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = UnixSocket::bind(&folder, "a.socket").unwrap();
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        // What another one puts there is not removed.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        drop(socket);
        let refused = UnixSocket::bind(&folder, "a.socket").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        for (name, kind) in [
            ("../a", ErrorKind::InvalidFilename),
            (&*"n".repeat(200), ErrorKind::InvalidInput),
        ] {
            assert_eq!(UnixSocket::bind(&folder, name).unwrap_err().kind(), kind);
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
