//! Rows that every drift adds, many in one statement: a storm of drifts is a storm of these.
//!
//! They wait until the end of a transaction: nothing else that is written reads them or goes
//! into their tables, but that a primary is forgotten.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{ChangeRow, EventRow, outbox_id};
use crate::db::record::{ROWS_MAX, signed};
use crate::db::{DbError, failed};

/// What waits to be written. None of it depends on any other of it.
#[derive(Default)]
pub(in crate::db) struct Rows<'a> {
    changes: Vec<&'a ChangeRow>,
    events: Vec<&'a EventRow>,
    /// By primary and item: only the last counts.
    lives: BTreeMap<(&'a str, &'a str), Option<&'a str>>,
    /// By its key: only the last counts.
    outbox: BTreeMap<String, Option<&'a str>>,
}

impl<'a> Rows<'a> {
    pub(super) fn change(&mut self, row: &'a ChangeRow) {
        self.changes.push(row);
    }

    pub(super) fn event(&mut self, row: &'a EventRow) {
        self.events.push(row);
    }

    /// What is known of an item now; `None` if nothing is any more.
    pub(super) fn life(&mut self, name: &'a str, item: &'a str, life: Option<&'a str>) {
        self.lives.insert((name, item), life);
    }

    /// A row of the outbox as it is now; `None` if it is gone.
    pub(super) fn outbox(&mut self, name: &str, id: u64, row: Option<&'a str>) {
        self.outbox.insert(outbox_id(name, id), row);
    }

    /// Writes all that waits.
    pub(in crate::db) async fn write(&mut self, tx: &mut SqliteConnection) -> Result<(), DbError> {
        let Self { changes, events, lives, outbox } = std::mem::take(self);
        put_changes(tx, &changes).await?;
        put_events(tx, &events).await?;
        let (kept, over) = split(lives);
        put_lives(tx, &kept).await?;
        forget_lives(tx, &over).await?;
        let (waiting, gone) = split(outbox);
        put_outbox(tx, &waiting).await?;
        forget_outbox(tx, &gone).await
    }
}

/// What is there, and the keys of what is not any more.
fn split<K>(rows: BTreeMap<K, Option<&str>>) -> (Vec<(K, &str)>, Vec<K>) {
    let (mut there, mut gone) = (Vec::new(), Vec::new());
    for (key, row) in rows {
        match row {
            Some(row) => there.push((key, row)),
            None => gone.push(key),
        }
    }
    (there, gone)
}

async fn put_changes(tx: &mut SqliteConnection, rows: &[&ChangeRow]) -> Result<(), DbError> {
    for chunk in rows.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO drift_changes (name, sequence, parameter, at_ms, change) ",
        );
        query.push_values(chunk, |mut values, row| {
            values
                .push_bind(&row.name)
                .push_bind(signed(row.sequence))
                .push_bind(&row.parameter)
                .push_bind(row.at_ms)
                .push_bind(&row.change);
        });
        query.build().execute(&mut *tx).await.map_err(failed("keep changes"))?;
    }
    Ok(())
}

async fn put_events(tx: &mut SqliteConnection, rows: &[&EventRow]) -> Result<(), DbError> {
    for chunk in rows.chunks(ROWS_MAX) {
        let mut query =
            QueryBuilder::<Sqlite>::new("INSERT INTO drift_events (sequence, name, at_ms, line) ");
        query.push_values(chunk, |mut values, row| {
            values
                .push_bind(signed(row.sequence))
                .push_bind(&row.name)
                .push_bind(row.at_ms)
                .push_bind(&row.line);
        });
        query.build().execute(&mut *tx).await.map_err(failed("keep events of primaries"))?;
    }
    Ok(())
}

async fn put_lives(
    tx: &mut SqliteConnection,
    rows: &[((&str, &str), &str)],
) -> Result<(), DbError> {
    for chunk in rows.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO drift_lives (name, item, life) ");
        query.push_values(chunk, |mut values, ((name, item), life)| {
            values.push_bind(*name).push_bind(*item).push_bind(*life);
        });
        query.push(" ON CONFLICT (name, item) DO UPDATE SET life = excluded.life");
        query.build().execute(&mut *tx).await.map_err(failed("keep what differs"))?;
    }
    Ok(())
}

/// One by one: items agree again in a storm, and are forgotten long after it.
async fn forget_lives(tx: &mut SqliteConnection, keys: &[(&str, &str)]) -> Result<(), DbError> {
    for (name, item) in keys {
        sqlx::query("DELETE FROM drift_lives WHERE name = $1 AND item = $2")
            .bind(*name)
            .bind(*item)
            .execute(&mut *tx)
            .await
            .map_err(failed("forget what differed"))?;
    }
    Ok(())
}

async fn put_outbox(tx: &mut SqliteConnection, rows: &[(String, &str)]) -> Result<(), DbError> {
    for chunk in rows.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO drift_outbox (id, row) ");
        query.push_values(chunk, |mut values, (id, row)| {
            values.push_bind(id).push_bind(*row);
        });
        query.push(" ON CONFLICT (id) DO UPDATE SET row = excluded.row");
        let doing = failed("keep alerts that are on their way");
        query.build().execute(&mut *tx).await.map_err(doing)?;
    }
    Ok(())
}

async fn forget_outbox(tx: &mut SqliteConnection, ids: &[String]) -> Result<(), DbError> {
    for chunk in ids.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM drift_outbox WHERE id IN (");
        let mut list = query.separated(", ");
        for id in chunk {
            list.push_bind(id);
        }
        query.push(")");
        query.build().execute(&mut *tx).await.map_err(failed("forget alerts that arrived"))?;
    }
    Ok(())
}
