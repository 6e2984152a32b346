//! The daemon's database: builds, events, step cache, images, timelines, metrics, drift, rollouts.
//!
//! SQLite in WAL mode today; the SQL keeps to what PostgreSQL understands too (`$n`, `ON
//! CONFLICT`, no driver types), and what only SQLite has stays in this file.
//!
//! All writes go through one thread ([`writer`]) that commits many at a time: a statement
//! costs about 70 µs, a commit far more, and builds have many events. Readers see only what
//! is committed, so what a client was told is what a restarted daemon still knows. A commit
//! survives the death of the process; the end of a build or a rollout also survives a power cut.

pub mod drift;
mod migrate;
mod read;
mod record;
pub mod rollouts;
mod timeline;
pub mod writer;

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};
use umbra_store::FaultPoints;

pub use self::read::StoredEvent;
pub use self::writer::{Write, Writer};
use crate::fault::Fault;

/// Why the database could not do something.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// It could not be opened.
    #[error("open the database {}", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// The driver's reason.
        #[source]
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("{doing} in the database")]
    Query {
        /// What was being done, as a fragment after "failed to".
        doing: &'static str,
        /// The driver's reason.
        #[source]
        source: sqlx::Error,
    },
    /// The database was changed by something else, or by a newer umbra.
    #[error("use the database: {0}")]
    Schema(String),
    /// A row holds something this version does not understand.
    #[error("read {what} from the database: {value:?} makes no sense")]
    Row {
        /// What was read.
        what: &'static str,
        /// What it holds, shortened.
        value: String,
    },
    /// The writer stopped after an earlier failure, or because the daemon ends.
    #[error("write to the database: its writer has stopped")]
    WriterGone,
}

/// A handle; clones share the connections.
#[derive(Debug, Clone)]
pub struct Db {
    pool: SqlitePool,
    faults: FaultPoints<Fault>,
}

impl Db {
    /// Opens or creates the database at `path` and brings its tables up to date.
    pub async fn open(path: &Path, faults: FaultPoints<Fault>) -> Result<Self, DbError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(std::time::Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .map_err(|source| DbError::Open { path: path.to_owned(), source })?;
        let db = Self { pool, faults };
        migrate::run(&db).await?;
        Ok(db)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The only way in which a transaction takes effect.
    async fn commit(&self, tx: Transaction<'_, Sqlite>) -> Result<(), DbError> {
        self.faults.hit(Fault::Written);
        tx.commit().await.map_err(failed("commit"))?;
        self.faults.hit(Fault::Committed);
        Ok(())
    }

    /// Makes everything committed so far survive a power cut.
    async fn sync(&self) -> Result<(), DbError> {
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(failed("sync"))
    }
}

/// Turns a driver's error into one that says what was being done.
fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> DbError {
    move |source| DbError::Query { doing, source }
}
