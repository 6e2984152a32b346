//! Writing what drift remembers, within the writer's transaction.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use umbra_state::Digest;

use super::rows::Rows;
use super::{DriftBatch, DriftWrite, PrimaryRow, RollbackRow, ShadowRow, outbox_prefix};
use crate::db::record::signed;
use crate::db::{DbError, failed};

/// Tables with rows of one primary.
const OF_PRIMARY: [&str; 7] = [
    "primary_shadows",
    "drift_lives",
    "drift_changes",
    "drift_events",
    "drift_counts",
    "drift_points",
    "rollbacks",
];

type Tx = SqliteConnection;

/// Writes all of them but what waits in `rows`.
pub(in crate::db) async fn record<'a>(
    tx: &mut Tx,
    batch: &'a DriftBatch,
    rows: &mut Rows<'a>,
) -> Result<(), DbError> {
    for write in &batch.writes {
        match write {
            DriftWrite::Change(row) => rows.change(row),
            DriftWrite::Event(row) => rows.event(row),
            DriftWrite::Life { name, item, life } => rows.life(name, item, life.as_deref()),
            DriftWrite::Outbox { name, id, row } => rows.outbox(name, *id, row.as_deref()),
            DriftWrite::Primary(row) => put_primary(tx, row).await?,
            DriftWrite::Forget(name) => {
                rows.write(tx).await?;
                forget(tx, name).await?;
            }
            DriftWrite::Shadow { row, objects } => put_shadow(tx, row, objects).await?,
            DriftWrite::Good { name, sequence } => good(tx, name, *sequence).await?,
            DriftWrite::Labels { name, sequence, labels, kept } => {
                label(tx, name, *sequence, labels, *kept).await?;
            }
            DriftWrite::Thin { name, sequences } => thin(tx, name, sequences).await?,
            DriftWrite::Counts { name, counts } => put_counts(tx, name, counts).await?,
            DriftWrite::Point { name, item, at_ms, value, gone } => {
                put_point(tx, name, item, *at_ms, *value).await?;
                forget_points(tx, name, item, gone).await?;
            }
            DriftWrite::Rollback(row) => put_rollback(tx, row).await?,
        }
    }
    Ok(())
}

async fn put_primary(tx: &mut Tx, row: &PrimaryRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO primaries (name, root, image, config_path, config, good, added_at_ms, remote)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (name) DO UPDATE SET image = excluded.image,
             config_path = excluded.config_path, config = excluded.config, good = excluded.good",
    )
    .bind(&row.name)
    .bind(&row.root)
    .bind(&row.image)
    .bind(&row.config_path)
    .bind(&row.config)
    .bind(signed(row.good))
    .bind(row.added_at_ms)
    .bind(row.remote.as_ref().and_then(|remote| serde_json::to_string(remote).ok()))
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("add a primary"))
}

async fn forget(tx: &mut Tx, name: &str) -> Result<(), DbError> {
    for table in OF_PRIMARY.into_iter().chain(["primaries"]) {
        let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM ");
        query.push(table).push(" WHERE name = ").push_bind(name);
        query.build().execute(&mut *tx).await.map_err(failed("forget a primary"))?;
    }
    let prefix = outbox_prefix(name);
    sqlx::query("DELETE FROM drift_outbox WHERE SUBSTR(id, 1, $1) = $2")
        .bind(signed(prefix.len() as u64))
        .bind(prefix)
        .execute(tx)
        .await
        .map(drop)
        .map_err(failed("forget a primary"))
}

async fn put_shadow(
    tx: &mut Tx,
    row: &ShadowRow,
    objects: &[(Digest, Vec<u8>)],
) -> Result<(), DbError> {
    for (digest, frame) in objects {
        sqlx::query(
            "INSERT INTO drift_objects (digest, frame) VALUES ($1, $2)
             ON CONFLICT (digest) DO NOTHING",
        )
        .bind(digest.to_string())
        .bind(frame)
        .execute(&mut *tx)
        .await
        .map_err(failed("keep an object of a shadow"))?;
    }
    sqlx::query(
        "INSERT INTO primary_shadows
             (name, sequence, root, cause, labels, kept, items, taken_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&row.name)
    .bind(signed(row.sequence))
    .bind(row.root.to_string())
    .bind(&row.cause)
    .bind(labels_text(&row.labels))
    .bind(i64::from(row.kept))
    .bind(signed(row.items))
    .bind(row.taken_at_ms)
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("add a shadow to a timeline"))
}

async fn good(tx: &mut Tx, name: &str, sequence: u64) -> Result<(), DbError> {
    sqlx::query("UPDATE primaries SET good = $1 WHERE name = $2")
        .bind(signed(sequence))
        .bind(name)
        .execute(tx)
        .await
        .map(drop)
        .map_err(failed("name the known good shadow"))
}

async fn label(
    tx: &mut Tx,
    name: &str,
    sequence: u64,
    labels: &[String],
    kept: bool,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE primary_shadows SET labels = $1, kept = $2 WHERE name = $3 AND sequence = $4",
    )
    .bind(labels_text(labels))
    .bind(i64::from(kept))
    .bind(name)
    .bind(signed(sequence))
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("label a shadow"))
}

async fn thin(tx: &mut Tx, name: &str, sequences: &[u64]) -> Result<(), DbError> {
    for sequence in sequences {
        sqlx::query("DELETE FROM primary_shadows WHERE name = $1 AND sequence = $2")
            .bind(name)
            .bind(signed(*sequence))
            .execute(&mut *tx)
            .await
            .map_err(failed("thin out a timeline"))?;
    }
    Ok(())
}

async fn put_counts(tx: &mut Tx, name: &str, counts: &str) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO drift_counts (name, counts) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET counts = excluded.counts",
    )
    .bind(name)
    .bind(counts)
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("keep counts"))
}

async fn put_point(
    tx: &mut Tx,
    name: &str,
    item: &str,
    at_ms: i64,
    value: f64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO drift_points (name, item, at_ms, value) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name, item, at_ms) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(item)
    .bind(at_ms)
    .bind(value)
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("keep a number"))
}

async fn forget_points(tx: &mut Tx, name: &str, item: &str, times: &[i64]) -> Result<(), DbError> {
    for at_ms in times {
        sqlx::query("DELETE FROM drift_points WHERE name = $1 AND item = $2 AND at_ms = $3")
            .bind(name)
            .bind(item)
            .bind(at_ms)
            .execute(&mut *tx)
            .await
            .map_err(failed("thin out numbers"))?;
    }
    Ok(())
}

async fn put_rollback(tx: &mut Tx, row: &RollbackRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO rollbacks (id, name, begun_at_ms, record) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET record = excluded.record",
    )
    .bind(signed(row.id))
    .bind(&row.name)
    .bind(row.begun_at_ms)
    .bind(&row.record)
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("keep a rollback"))
}

/// Labels have no white space.
fn labels_text(labels: &[String]) -> String {
    labels.join(" ")
}
