//! Bringing the tables up to date.
//!
//! Migrations are part of the program and numbered; each is applied in a transaction of its
//! own and remembered with a checksum, so that an edited one or a newer database is noticed
//! instead of used.

use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Row};

use super::{Db, DbError, failed};

struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "builds", sql: include_str!("../../migrations/0001_builds.sql") },
    Migration { number: 2, name: "drift", sql: include_str!("../../migrations/0002_drift.sql") },
    Migration { number: 3, name: "points", sql: include_str!("../../migrations/0003_points.sql") },
    Migration { number: 4, name: "remote", sql: include_str!("../../migrations/0004_remote.sql") },
    Migration {
        number: 5,
        name: "rollouts",
        sql: include_str!("../../migrations/0005_rollouts.sql"),
    },
];

const BOOK: &str = "CREATE TABLE IF NOT EXISTS migrations (
    number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)";

/// Applies what is missing.
pub(super) async fn run(db: &Db) -> Result<(), DbError> {
    sqlx::query(BOOK).execute(&db.pool).await.map_err(failed("create the book of migrations"))?;
    let applied = sqlx::query("SELECT number, checksum FROM migrations ORDER BY number")
        .fetch_all(&db.pool)
        .await
        .map_err(failed("read the book of migrations"))?;
    let mut known = MIGRATIONS.iter();
    for row in &applied {
        let number: i64 = row.try_get(0).map_err(failed("read a migration"))?;
        let checksum: String = row.try_get(1).map_err(failed("read a migration"))?;
        check_applied(number, &checksum, known.next())?;
    }
    for migration in known {
        apply(db, migration).await?;
    }
    Ok(())
}

fn check_applied(number: i64, sum: &str, known: Option<&Migration>) -> Result<(), DbError> {
    match known {
        Some(migration) if migration.number == number && checksum(migration.sql) == sum => Ok(()),
        Some(migration) if migration.number == number => Err(DbError::Schema(format!(
            "migration {number} ({}) was applied with another content",
            migration.name
        ))),
        _ => Err(DbError::Schema(format!(
            "it has migration {number}, which this version of umbra does not know"
        ))),
    }
}

async fn apply(db: &Db, migration: &Migration) -> Result<(), DbError> {
    let mut tx = db.pool.begin().await.map_err(failed("begin a migration"))?;
    for statement in statements(migration.sql) {
        // The text is a part of this program.
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut *tx)
            .await
            .map_err(failed("apply a migration"))?;
    }
    sqlx::query("INSERT INTO migrations (number, name, checksum) VALUES ($1, $2, $3)")
        .bind(migration.number)
        .bind(migration.name)
        .bind(checksum(migration.sql))
        .execute(&mut *tx)
        .await
        .map_err(failed("remember a migration"))?;
    db.commit(tx).await
}

/// Migrations hold plain statements: no semicolon but the one that ends each.
fn statements(sql: &'static str) -> impl Iterator<Item = String> {
    sql.split(';').map(|statement| statement.trim().to_owned()).filter(|text| !text.is_empty())
}

fn checksum(sql: &str) -> String {
    Sha256::digest(sql).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use umbra_store::FaultPoints;

    use super::super::{Db, DbError};

    async fn open(path: &Path) -> Result<Db, DbError> {
        Db::open(path, FaultPoints::default()).await
    }

    #[tokio::test]
    async fn opening_twice_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("umbra.db");
        open(&path).await.expect("created").close().await;
        open(&path).await.expect("opened again").close().await;
    }

    #[tokio::test]
    async fn an_edited_or_unknown_migration_is_noticed() {
        for (sql, complaint) in [
            ("UPDATE migrations SET checksum = 'x'", "another content"),
            ("INSERT INTO migrations VALUES (99, 'later', 'x')", "does not know"),
        ] {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("umbra.db");
            let db = open(&path).await.expect("created");
            sqlx::query(sql).execute(&db.pool).await.expect("tampered");
            db.close().await;
            let error = open(&path).await.expect_err("refused").to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
