//! What can go wrong with what is kept.

use std::{io, path::PathBuf, sync::Arc};

/// Why a server cannot keep what it has to keep. It stops then, and acknowledges nothing more:
/// what was acknowledged before is on the disk.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the directory.
    #[error("another server uses `{path}`: stop it, or give this one a directory of its own")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The directory must not be written to.
    #[error(
        "`{path}` must not be written to ({source}): let this user read and write it and all that \
         is in it, on a file system that is not read-only"
    )]
    ReadOnly {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// There cannot be a directory here, or it is no directory.
    #[error(
        "`{path}` cannot be the data directory ({source}): name a directory, or one that can be \
         made, on a disk of this machine"
    )]
    NoDirectory {
        /// What was to be the directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// There is no space left.
    #[error(
        "the disk is full ({source}): make room and start again; nothing that was acknowledged is \
         lost"
    )]
    Full {
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The disk fails.
    #[error(
        "the disk fails ({source}): look at it, and start again; nothing that was acknowledged \
         before is taken back"
    )]
    Disk {
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file is not a database of Lockwright's.
    #[error(
        "`{path}` is no data of a Lockwright server: {what}; give the server another directory; \
         the file was not changed"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// The file was written by another version.
    #[error(
        "`{path}` is written in the format `{got}`, and this server reads `{expected}`: start the \
         version that wrote it; the file was not changed"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        got: String,
        /// The format of this version.
        expected: String,
    },
    /// The file is Lockwright's, and damaged.
    #[error(
        "the data is damaged: {what}; keep the directory as it is, and start with a copy of all of it \
         from before, or in an empty one: then locks are forgotten, and tokens that were given may be \
         given again, so everything that checks tokens must be told. A node of a cluster is rebuilt from the others instead: \
         `lockwright cluster remove` it, start it with an empty directory, and `lockwright cluster \
         add` it"
    )]
    Damaged {
        /// How that shows.
        what: String,
    },
    /// The data is of another node.
    #[error(
        "the data is that of {is}, and this is to be {expected}: start it as what it is, or give \
         this node another directory"
    )]
    OtherNode {
        /// Whose it is.
        is: String,
        /// Whose it was to be.
        expected: String,
    },
    /// The data is of a node of a cluster, and the server was to be alone.
    #[error(
        "the data is that of node {node} of a cluster of {of}: start it as a node of that cluster"
    )]
    NeedsCluster {
        /// The node's id.
        node: u64,
        /// How many members vote.
        of: usize,
    },
    /// The server stops.
    #[error("the server stops, and keeps nothing any more")]
    Stopped,
}

impl StoreError {
    pub(crate) fn stopped() -> StoreError {
        StoreError::Stopped
    }

    pub(crate) fn damaged(what: impl Into<String>) -> StoreError {
        StoreError::Damaged { what: what.into() }
    }

    /// What the error of a disk says.
    pub(crate) fn disk(error: io::Error) -> StoreError {
        StoreError::of(Arc::new(error))
    }

    fn of(source: Arc<io::Error>) -> StoreError {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => StoreError::Full { source },
            _ => StoreError::Disk { source },
        }
    }

    /// What it says when a directory is opened.
    pub(super) fn directory(path: PathBuf, error: io::Error) -> StoreError {
        use io::ErrorKind::{
            InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied,
            ReadOnlyFilesystem,
        };
        let kind = error.kind();
        let source = Arc::new(error);
        match kind {
            PermissionDenied | ReadOnlyFilesystem => StoreError::ReadOnly { path, source },
            NotFound | NotADirectory | IsADirectory | InvalidInput | InvalidFilename => {
                StoreError::NoDirectory { path, source }
            }
            _ => StoreError::of(source),
        }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> io::Error {
        io::Error::other(error)
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> StoreError {
        match error {
            redb::Error::Io(error) => StoreError::disk(error),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                StoreError::disk(io::Error::other(error.to_string()))
            }
            other => StoreError::damaged(other.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> StoreError {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(
    CommitError,
    DatabaseError,
    StorageError,
    TableError,
    TransactionError
);
