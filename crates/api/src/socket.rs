//! The unix socket of somebody who is asked and told: its owner's and root's alone.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::{UnixListener, UnixStream};

/// A listening socket; dropping it removes its file.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    owner: u32,
    /// Whether the file is somebody else's by now.
    left: AtomicBool,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something else has its name.
    #[error("there is a file that is no socket")]
    NoSocket,
    /// It is somebody's.
    #[error("somebody listens there")]
    Taken,
    /// The kernel refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Why a socket cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Its name is another's.
    #[error("its file is no more, or another's")]
    Replaced,
    /// The kernel refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Socket {
    /// Listens at `path`, readable and writable by its owner alone from the first moment on. A
    /// socket nobody listens at any more is replaced; any other file is not.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        if let Ok(metadata) = fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                return Err(BindError::NoSocket);
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(BindError::Taken);
            }
        }
        // Bound under another name and renamed, so that nobody ever connects to it with
        // wider permissions or to a half-made one.
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft)?;
        let prepared = fs::set_permissions(&draft, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&draft, path))
            .and_then(|()| fs::symlink_metadata(path));
        let prepared = prepared.inspect_err(|_| {
            let _ = fs::remove_file(&draft);
        })?;
        let (inode, owner) = (prepared.ino(), prepared.uid());
        Ok(Self { listener, path: path.to_owned(), inode, owner, left: AtomicBool::new(false) })
    }

    /// Goes on with a socket that another process listened at, whose file is this one.
    ///
    /// # Errors
    /// See [`AdoptError`].
    pub fn adopt(
        listener: std::os::unix::net::UnixListener,
        path: &Path,
        inode: u64,
    ) -> Result<Self, AdoptError> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.file_type().is_socket() || metadata.ino() != inode {
            return Err(AdoptError::Replaced);
        }
        listener.set_nonblocking(true)?;
        let (listener, owner) = (UnixListener::from_std(listener)?, metadata.uid());
        Ok(Self { listener, path: path.to_owned(), inode, owner, left: AtomicBool::new(false) })
    }

    /// What tells its file from another of its name.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Somebody else goes on with it: its file stays.
    pub fn leave_file(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// The next connection.
    ///
    /// # Errors
    /// What the kernel says: out of files, most likely.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Whether this peer is root or who made the socket.
    pub fn may_speak(&self, peer: &UnixStream) -> bool {
        peer.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == self.owner)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.left.load(Ordering::Relaxed) {
            return;
        }
        let is_ours =
            fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode);
        if is_ours {
            // What cannot be removed is replaced by whoever comes next.
            let _ = fs::remove_file(&self.path);
        }
    }
}
