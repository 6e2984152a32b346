//! Questions about drift.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use umbra_state::Digest;

use super::{ChangeRow, EventRow, PrimaryRow, RollbackRow, ShadowRow, outbox_prefix};
use crate::db::read::unsigned;
use crate::db::record::signed;
use crate::db::{Db, DbError, failed};

impl Db {
    /// All primaries by name.
    pub async fn primaries(&self) -> Result<Vec<PrimaryRow>, DbError> {
        let rows = sqlx::query(
            "SELECT name, root, image, config_path, config, good, added_at_ms, remote
             FROM primaries ORDER BY name",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list the primaries"))?;
        rows.iter().map(primary).collect()
    }

    /// A primary's timeline, oldest first.
    pub async fn primary_shadows(&self, name: &str) -> Result<Vec<ShadowRow>, DbError> {
        let rows = sqlx::query(
            "SELECT name, sequence, root, cause, labels, kept, items, taken_at_ms
             FROM primary_shadows WHERE name = $1 ORDER BY sequence",
        )
        .bind(name)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read a timeline"))?;
        rows.iter().map(shadow).collect()
    }

    /// The compressed object of this name.
    pub async fn drift_object(&self, digest: Digest) -> Result<Option<Vec<u8>>, DbError> {
        let row = sqlx::query("SELECT frame FROM drift_objects WHERE digest = $1")
            .bind(digest.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read an object of a shadow"))?;
        row.map(|row| row.try_get(0).map_err(failed("read an object of a shadow"))).transpose()
    }

    /// The names of all objects and how many bytes each takes.
    pub async fn drift_objects(&self) -> Result<Vec<(Digest, u64)>, DbError> {
        let rows = sqlx::query("SELECT digest, LENGTH(frame) FROM drift_objects")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list the objects of shadows"))?;
        let read = |row: &SqliteRow| -> Result<(Digest, u64), DbError> {
            let digest: String = row.try_get(0).map_err(failed("list the objects of shadows"))?;
            let bytes: i64 = row.try_get(1).map_err(failed("list the objects of shadows"))?;
            Ok((parsed(&digest)?, unsigned(bytes)))
        };
        rows.iter().map(read).collect()
    }

    /// Removes objects that no shadow needs. Says how many went.
    pub async fn sweep_drift_objects(&self, needed: &BTreeSet<Digest>) -> Result<u64, DbError> {
        let mut tx = self.pool.begin().await.map_err(failed("begin a transaction"))?;
        let mut gone = 0;
        for (digest, _) in self.drift_objects().await? {
            if !needed.contains(&digest) {
                sqlx::query("DELETE FROM drift_objects WHERE digest = $1")
                    .bind(digest.to_string())
                    .execute(&mut *tx)
                    .await
                    .map_err(failed("remove an object of a shadow"))?;
                gone += 1;
            }
        }
        self.commit(tx).await?;
        Ok(gone)
    }

    /// What of a primary differs or did so lately, as JSON.
    pub async fn drift_lives(&self, name: &str) -> Result<Vec<String>, DbError> {
        let rows = sqlx::query("SELECT life FROM drift_lives WHERE name = $1 ORDER BY item")
            .bind(name)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read what differs"))?;
        rows.iter().map(|row| row.try_get(0).map_err(failed("read what differs"))).collect()
    }

    /// The last changes of a primary, or of one of its parameters, newest first.
    pub async fn drift_changes(
        &self,
        name: &str,
        parameter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, DbError> {
        let mut query = select_changes(name);
        if let Some(parameter) = parameter {
            query.push(" AND parameter = ").push_bind(parameter);
        }
        query.push(" ORDER BY sequence DESC LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&self.pool).await.map_err(failed("read changes"))?;
        rows.iter().map(|row| change(row).map_err(failed("read a change"))).collect()
    }

    /// The changes of a primary between two moments, oldest first.
    pub async fn drift_changes_between(
        &self,
        name: &str,
        from_ms: i64,
        to_ms: i64,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, DbError> {
        let mut query = select_changes(name);
        query.push(" AND at_ms >= ").push_bind(from_ms).push(" AND at_ms <= ").push_bind(to_ms);
        query.push(" ORDER BY sequence LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&self.pool).await.map_err(failed("read changes"))?;
        rows.iter().map(|row| change(row).map_err(failed("read a change"))).collect()
    }

    /// The sequence of a primary's next change.
    pub async fn next_drift_change(&self, name: &str) -> Result<u64, DbError> {
        let row =
            sqlx::query("SELECT COALESCE(MAX(sequence), 0) + 1 FROM drift_changes WHERE name = $1")
                .bind(name)
                .fetch_one(&self.pool)
                .await
                .map_err(failed("count changes"))?;
        row.try_get::<i64, _>(0).map(unsigned).map_err(failed("count changes"))
    }

    /// Committed events from `from` on, of all primaries or of one.
    pub async fn drift_events(
        &self,
        name: Option<&str>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EventRow>, DbError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT sequence, name, at_ms, line FROM drift_events WHERE sequence >= ",
        );
        query.push_bind(signed(from));
        if let Some(name) = name {
            query.push(" AND name = ").push_bind(name);
        }
        query.push(" ORDER BY sequence LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&self.pool).await.map_err(failed("read events"))?;
        rows.iter().map(|row| event(row).map_err(failed("read an event"))).collect()
    }

    /// The sequence of the next event.
    pub async fn next_drift_event(&self) -> Result<u64, DbError> {
        let row = sqlx::query("SELECT COALESCE(MAX(sequence), 0) + 1 FROM drift_events")
            .fetch_one(&self.pool)
            .await
            .map_err(failed("count events"))?;
        row.try_get::<i64, _>(0).map(unsigned).map_err(failed("count events"))
    }

    /// A primary's documents on their way, as JSON.
    pub async fn drift_outbox(&self, name: &str) -> Result<Vec<String>, DbError> {
        let prefix = outbox_prefix(name);
        let rows = sqlx::query("SELECT row FROM drift_outbox WHERE SUBSTR(id, 1, $1) = $2")
            .bind(signed(prefix.len() as u64))
            .bind(prefix)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("read what is on its way"))?;
        rows.iter().map(|row| row.try_get(0).map_err(failed("read what is on its way"))).collect()
    }

    /// Counts under a name, as JSON.
    pub async fn drift_counts(&self, name: &str) -> Result<Option<String>, DbError> {
        let row = sqlx::query("SELECT counts FROM drift_counts WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read counts"))?;
        row.map(|row| row.try_get(0).map_err(failed("read counts"))).transpose()
    }

    /// A primary's numbers over time, oldest first: the item as JSON, when, and what it was.
    pub async fn drift_points(&self, name: &str) -> Result<Vec<(String, i64, f64)>, DbError> {
        let rows = sqlx::query(
            "SELECT item, at_ms, value FROM drift_points WHERE name = $1 ORDER BY item, at_ms",
        )
        .bind(name)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read numbers"))?;
        let point = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        rows.iter().map(|row| point(row).map_err(failed("read a number"))).collect()
    }

    /// Rollbacks of a primary, newest first.
    pub async fn rollbacks(&self, name: &str, limit: u32) -> Result<Vec<RollbackRow>, DbError> {
        let rows = sqlx::query(
            "SELECT id, name, begun_at_ms, record FROM rollbacks WHERE name = $1
             ORDER BY id DESC LIMIT $2",
        )
        .bind(name)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read rollbacks"))?;
        rows.iter().map(|row| rollback(row).map_err(failed("read a rollback"))).collect()
    }

    /// The number the next rollback gets.
    pub async fn next_rollback(&self) -> Result<u64, DbError> {
        let row = sqlx::query("SELECT COALESCE(MAX(id), 0) + 1 FROM rollbacks")
            .fetch_one(&self.pool)
            .await
            .map_err(failed("count rollbacks"))?;
        row.try_get::<i64, _>(0).map(unsigned).map_err(failed("count rollbacks"))
    }
}

fn select_changes(name: &str) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(
        "SELECT name, sequence, parameter, at_ms, change FROM drift_changes WHERE name = ",
    );
    query.push_bind(name.to_owned());
    query
}

fn primary(row: &SqliteRow) -> Result<PrimaryRow, DbError> {
    let read = || -> Result<(Option<String>, PrimaryRow), sqlx::Error> {
        let primary = PrimaryRow {
            name: row.try_get(0)?,
            root: row.try_get(1)?,
            remote: None,
            image: row.try_get(2)?,
            config_path: row.try_get(3)?,
            config: row.try_get(4)?,
            good: unsigned(row.try_get(5)?),
            added_at_ms: row.try_get(6)?,
        };
        Ok((row.try_get(7)?, primary))
    };
    let (remote, primary) = read().map_err(failed("read a primary"))?;
    let remote = remote.map(|text| {
        serde_json::from_str(&text).map_err(|_| DbError::Row {
            what: "how a primary is reached",
            value: text.chars().take(80).collect(),
        })
    });
    Ok(PrimaryRow { remote: remote.transpose()?, ..primary })
}

fn shadow(row: &SqliteRow) -> Result<ShadowRow, DbError> {
    let read = || -> Result<(String, ShadowRow), sqlx::Error> {
        let labels: String = row.try_get(4)?;
        let shadow = ShadowRow {
            name: row.try_get(0)?,
            sequence: unsigned(row.try_get(1)?),
            root: Digest::new([0; 32]),
            cause: row.try_get(3)?,
            labels: labels.split_whitespace().map(str::to_owned).collect(),
            kept: row.try_get::<i64, _>(5)? != 0,
            items: unsigned(row.try_get(6)?),
            taken_at_ms: row.try_get(7)?,
        };
        Ok((row.try_get(2)?, shadow))
    };
    let (root, shadow) = read().map_err(failed("read a shadow"))?;
    Ok(ShadowRow { root: parsed(&root)?, ..shadow })
}

fn change(row: &SqliteRow) -> Result<ChangeRow, sqlx::Error> {
    Ok(ChangeRow {
        name: row.try_get(0)?,
        sequence: unsigned(row.try_get(1)?),
        parameter: row.try_get(2)?,
        at_ms: row.try_get(3)?,
        change: row.try_get(4)?,
    })
}

fn event(row: &SqliteRow) -> Result<EventRow, sqlx::Error> {
    Ok(EventRow {
        sequence: unsigned(row.try_get(0)?),
        name: row.try_get(1)?,
        at_ms: row.try_get(2)?,
        line: row.try_get(3)?,
    })
}

fn rollback(row: &SqliteRow) -> Result<RollbackRow, sqlx::Error> {
    Ok(RollbackRow {
        id: unsigned(row.try_get(0)?),
        name: row.try_get(1)?,
        begun_at_ms: row.try_get(2)?,
        record: row.try_get(3)?,
    })
}

fn parsed(digest: &str) -> Result<Digest, DbError> {
    digest
        .parse()
        .map_err(|_| DbError::Row { what: "a digest", value: digest.chars().take(80).collect() })
}
