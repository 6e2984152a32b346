//! Writing what rollouts remember, within the writer's transaction.

use sqlx::SqliteConnection;

use super::{DETAILS_MAX, EventKind, EventRow, RolloutBatch, RolloutRow, RolloutWrite, ServiceRow};
use crate::db::record::signed;
use crate::db::timeline::Timeline;
use crate::db::{DbError, failed};

type Tx = SqliteConnection;

/// Writes all of them.
pub(in crate::db) async fn record(tx: &mut Tx, batch: &RolloutBatch) -> Result<(), DbError> {
    for write in &batch.writes {
        match write {
            RolloutWrite::Rollout(row) => put_rollout(tx, row).await?,
            RolloutWrite::Event(row) => {
                put_event(tx, row).await?;
                forget_events(tx, row).await?;
            }
            RolloutWrite::Service(row) => put_service(tx, row).await?,
            RolloutWrite::Grow { timeline, entries } => {
                let mut timeline = Timeline::load(tx, timeline).await?;
                for (state, cause, at_ms) in entries {
                    timeline.grow(tx, *state, cause, *at_ms).await?;
                }
            }
            RolloutWrite::Outbox { id, rollout, row } => {
                put_outbox(tx, *id, *rollout, row.as_deref()).await?;
            }
        }
    }
    Ok(())
}

async fn put_rollout(tx: &mut Tx, row: &RolloutRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO rollouts (id, service, state, before, goes_on, phase, request, plan, made,
             controller, status, began_at_ms, ended_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (id) DO UPDATE SET goes_on = excluded.goes_on, phase = excluded.phase,
             made = excluded.made, controller = excluded.controller, status = excluded.status,
             ended_at_ms = excluded.ended_at_ms",
    )
    .bind(signed(row.id))
    .bind(&row.service)
    .bind(row.state.map(|state| state.to_string()))
    .bind(row.before.map(|state| state.to_string()))
    .bind(i64::from(row.goes_on))
    .bind(&row.phase)
    .bind(&row.request)
    .bind(&row.plan)
    .bind(&row.made)
    .bind(&row.controller)
    .bind(&row.status)
    .bind(row.began_at_ms)
    .bind(row.ended_at_ms)
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("keep a rollout"))
}

async fn put_event(tx: &mut Tx, row: &EventRow) -> Result<(), DbError> {
    sqlx::query("INSERT INTO rollout_events (rollout, seq, kind, line) VALUES ($1, $2, $3, $4)")
        .bind(signed(row.rollout))
        .bind(signed(row.seq))
        .bind(row.kind.as_str())
        .bind(&row.line)
        .execute(tx)
        .await
        .map(drop)
        .map_err(failed("keep an event of a rollout"))
}

/// What the new one leaves no place for.
async fn forget_events(tx: &mut Tx, new: &EventRow) -> Result<(), DbError> {
    let kept = match new.kind {
        EventKind::Change => return Ok(()),
        EventKind::Detail => DETAILS_MAX,
        EventKind::Standing => 1,
    };
    sqlx::query(
        "DELETE FROM rollout_events WHERE rollout = $1 AND kind = $2 AND seq <= COALESCE((
             SELECT seq FROM rollout_events WHERE rollout = $1 AND kind = $2
             ORDER BY seq DESC LIMIT 1 OFFSET $3), -1)",
    )
    .bind(signed(new.rollout))
    .bind(new.kind.as_str())
    .bind(signed(kept))
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("forget an event of a rollout"))
}

async fn put_service(tx: &mut Tx, row: &ServiceRow) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO services (name, state, before, record) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET state = excluded.state, before = excluded.before,
             record = excluded.record",
    )
    .bind(&row.name)
    .bind(row.state.map(|state| state.to_string()))
    .bind(row.before.map(|state| state.to_string()))
    .bind(&row.record)
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("keep what serves a service"))
}

async fn put_outbox(tx: &mut Tx, id: u64, rollout: u64, row: Option<&str>) -> Result<(), DbError> {
    let query = match row {
        Some(row) => sqlx::query(
            "INSERT INTO rollout_outbox (id, rollout, row) VALUES ($1, $2, $3)
             ON CONFLICT (id) DO UPDATE SET row = excluded.row",
        )
        .bind(signed(id))
        .bind(signed(rollout))
        .bind(row),
        None => sqlx::query("DELETE FROM rollout_outbox WHERE id = $1").bind(signed(id)),
    };
    query.execute(tx).await.map(drop).map_err(failed("keep news that are on their way"))
}
