//! Writing a batch in one transaction.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use umbra_api::build::{BuildInfo, BuildRequest};
use umbra_build::{StepKey, TestKey};
use umbra_state::StateId;

use super::drift::rows::Rows;
use super::read::phase_text;
use super::timeline::Timeline;
use super::writer::{EventWrite, MetricRow, SealedImage, StepState, Write};
use super::{Db, DbError, drift, failed, rollouts};

/// Rows of one multi-row insert; the product with the columns stays below any driver's limit
/// of parameters.
pub(super) const ROWS_MAX: usize = 100;

impl Db {
    /// Commits all of it or nothing.
    pub(super) async fn record(&self, writes: &[Write]) -> Result<(), DbError> {
        let mut tx = self.pool.begin().await.map_err(failed("begin a transaction"))?;
        let mut events = Vec::new();
        let mut rows = Rows::default();
        let mut latest: BTreeMap<u64, &BuildInfo> = BTreeMap::new();
        for write in writes {
            match write {
                Write::Build { info, request } => insert_build(&mut tx, info, request).await?,
                Write::Cache { key, state } => put_step(&mut tx, key, *state).await?,
                Write::Passed(key) => put_passed(&mut tx, key).await?,
                Write::Drift(batch) => drift::write::record(&mut tx, batch, &mut rows).await?,
                Write::Rollout(batch) => rollouts::write::record(&mut tx, batch).await?,
                Write::Event(event) => {
                    events.push(event.as_ref());
                    latest.insert(event.info.id, &event.info);
                    record_effects(&mut tx, event).await?;
                }
            }
        }
        rows.write(&mut tx).await?;
        insert_events(&mut tx, &events).await?;
        for info in latest.into_values() {
            update_build(&mut tx, info).await?;
        }
        self.commit(tx).await
    }
}

async fn record_effects(tx: &mut SqliteConnection, event: &EventWrite) -> Result<(), DbError> {
    if let Some(step) = &event.step {
        put_step_state(tx, event.info.id, step).await?;
    }
    for (part, metric) in event.metrics.iter().enumerate() {
        insert_metric(tx, event, part, metric).await?;
    }
    if let Some(sealed) = &event.sealed {
        seal(tx, event, sealed).await?;
    }
    Ok(())
}

async fn insert_build(
    tx: &mut SqliteConnection,
    info: &BuildInfo,
    request: &BuildRequest,
) -> Result<(), DbError> {
    let request = serde_json::to_string(request).unwrap_or_default();
    sqlx::query(
        "INSERT INTO builds (id, name, recipe, request, phase, verdict, state, started_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(signed(info.id))
    .bind(&info.name)
    .bind(&info.recipe)
    .bind(request)
    .bind(phase_text(info.phase))
    .bind(info.verdict.to_string())
    .bind(info.state.map(|state| state.to_string()))
    .bind(info.started_at_ms)
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("add a build"))
}

async fn update_build(tx: &mut SqliteConnection, info: &BuildInfo) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE builds SET name = $1, phase = $2, verdict = $3, state = $4, ended_at_ms = $5,
         reason = $6 WHERE id = $7",
    )
    .bind(&info.name)
    .bind(phase_text(info.phase))
    .bind(info.verdict.to_string())
    .bind(info.state.map(|state| state.to_string()))
    .bind(info.ended_at_ms)
    .bind(&info.reason)
    .bind(signed(info.id))
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("update a build"))
}

async fn insert_events(tx: &mut SqliteConnection, events: &[&EventWrite]) -> Result<(), DbError> {
    for chunk in events.chunks(ROWS_MAX) {
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new("INSERT INTO events (build, seq, line) ");
        query.push_values(chunk, |mut row, event| {
            row.push_bind(signed(event.info.id))
                .push_bind(signed(event.seq))
                .push_bind(event.line.clone());
        });
        query.build().execute(&mut *tx).await.map_err(failed("add events"))?;
    }
    Ok(())
}

async fn put_step_state(
    tx: &mut SqliteConnection,
    build: u64,
    step: &StepState,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO steps (build, step, name, state) VALUES ($1, $2, $3, $4)
         ON CONFLICT (build, step) DO UPDATE SET name = excluded.name, state = excluded.state",
    )
    .bind(signed(build))
    .bind(signed(step.step as u64))
    .bind(&step.name)
    .bind(step.state.to_string())
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("remember a step's state"))
}

async fn insert_metric(
    tx: &mut SqliteConnection,
    event: &EventWrite,
    part: usize,
    metric: &MetricRow,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO metrics (build, seq, part, image, step, test, name, value, unit, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(signed(event.info.id))
    .bind(signed(event.seq))
    .bind(signed(part as u64))
    .bind(&event.info.name)
    .bind(&metric.step)
    .bind(&metric.test)
    .bind(&metric.name)
    .bind(metric.value)
    .bind(&metric.unit)
    .bind(crate::clock::now_ms())
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("add a metric"))
}

async fn put_step(tx: &mut SqliteConnection, key: &StepKey, state: StateId) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO step_cache (parent, definition, inputs, image, step, state, serial)
         VALUES ($1, $2, $3, $4, $5, $6, (SELECT COALESCE(MAX(serial), 0) + 1 FROM step_cache))
         ON CONFLICT (parent, definition, inputs) DO UPDATE SET image = excluded.image,
         step = excluded.step, state = excluded.state, serial = excluded.serial",
    )
    .bind(key.parent.to_string())
    .bind(key.definition.to_string())
    .bind(key.inputs.to_string())
    .bind(&key.image)
    .bind(&key.step)
    .bind(state.to_string())
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("remember a step"))
}

async fn put_passed(tx: &mut SqliteConnection, key: &TestKey) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO tests_passed (state, before, definition) VALUES ($1, $2, $3)
         ON CONFLICT (state, before, definition) DO NOTHING",
    )
    .bind(key.state.to_string())
    .bind(before_text(key))
    .bind(key.definition.to_string())
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("remember a passed test"))
}

/// No state before is written as nothing: NULL never equals NULL in a key.
pub(super) fn before_text(key: &TestKey) -> String {
    key.before.map_or(String::new(), |state| state.to_string())
}

/// Names the image and lets its timeline grow: by the seal alone where the state is the one
/// it had, by every step where it is a new one.
async fn seal(
    tx: &mut SqliteConnection,
    event: &EventWrite,
    sealed: &SealedImage,
) -> Result<(), DbError> {
    let now = crate::clock::now_ms();
    let mut timeline = Timeline::load(tx, &sealed.name).await?;
    let unchanged = timeline.ends_with(sealed.state);
    let skipped = if unchanged { sealed.entries.len().saturating_sub(1) } else { 0 };
    for (state, cause) in sealed.entries.iter().skip(skipped) {
        timeline.grow(tx, *state, cause, now).await?;
    }
    sqlx::query(
        "INSERT INTO images (name, state, build, sealed_at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET state = excluded.state, build = excluded.build,
         sealed_at_ms = excluded.sealed_at_ms",
    )
    .bind(&sealed.name)
    .bind(sealed.state.to_string())
    .bind(signed(event.info.id))
    .bind(now)
    .execute(tx)
    .await
    .map(drop)
    .map_err(failed("name an image"))
}

/// Databases count in signed numbers; ours stay far below the difference.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
