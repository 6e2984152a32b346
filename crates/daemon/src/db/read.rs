//! Questions to the database.

use std::str::FromStr;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use umbra_api::build::{BuildInfo, BuildPhase, BuildRequest};
use umbra_api::image::{ImageInfo, MetricPoint, TimelineEntry};
use umbra_build::{StepKey, TestKey};
use umbra_state::{Digest, StateId, Verdict};

use super::record::{before_text, signed};
use super::{Db, DbError, failed};

/// A committed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number within the build.
    pub seq: u64,
    /// It as a line of JSON, without the line's end.
    pub line: String,
}

const BUILD_COLUMNS: &str =
    "id, name, recipe, phase, verdict, state, started_at_ms, ended_at_ms, reason";

impl Db {
    /// The number the next build gets.
    pub async fn next_build(&self) -> Result<u64, DbError> {
        let row = sqlx::query("SELECT COALESCE(MAX(id), 0) + 1 FROM builds")
            .fetch_one(&self.pool)
            .await
            .map_err(failed("count builds"))?;
        row.try_get::<i64, _>(0).map(unsigned).map_err(failed("count builds"))
    }

    /// One build.
    pub async fn build(&self, id: u64) -> Result<Option<BuildInfo>, DbError> {
        let mut query = select_builds();
        query.push("WHERE id = ").push_bind(signed(id));
        let row = query.build().fetch_optional(&self.pool).await.map_err(failed("read a build"))?;
        row.as_ref().map(build_info).transpose()
    }

    /// The last builds, newest first.
    pub async fn builds(&self, limit: u32) -> Result<Vec<BuildInfo>, DbError> {
        let mut query = select_builds();
        query.push("ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&self.pool).await.map_err(failed("list builds"))?;
        rows.iter().map(build_info).collect()
    }

    /// Builds that were in the middle when the last daemon ended.
    pub async fn unfinished_builds(&self) -> Result<Vec<BuildInfo>, DbError> {
        let mut query = select_builds();
        query.push("WHERE phase IN ('running', 'asking') ORDER BY id");
        let rows = query.build().fetch_all(&self.pool).await.map_err(failed("list builds"))?;
        rows.iter().map(build_info).collect()
    }

    /// How many builds there were, by phase.
    pub async fn builds_by_phase(&self) -> Result<Vec<(String, u64)>, DbError> {
        let rows = sqlx::query("SELECT phase, COUNT(*) FROM builds GROUP BY phase ORDER BY phase")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("count builds"))?;
        let read = |row: &SqliteRow| Ok((row.try_get(0)?, unsigned(row.try_get(1)?)));
        rows.iter().map(|row| read(row).map_err(failed("count builds"))).collect()
    }

    /// A build's events from number `from` on, at most `limit`.
    pub async fn events(
        &self,
        build: u64,
        from: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, DbError> {
        let rows = sqlx::query(
            "SELECT seq, line FROM events WHERE build = $1 AND seq >= $2 ORDER BY seq LIMIT $3",
        )
        .bind(signed(build))
        .bind(signed(from))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read events"))?;
        rows.iter()
            .map(|row| {
                let seq = unsigned(row.try_get(0).map_err(failed("read an event"))?);
                Ok(StoredEvent { seq, line: row.try_get(1).map_err(failed("read an event"))? })
            })
            .collect()
    }

    /// A build's last event.
    pub async fn last_event(&self, build: u64) -> Result<Option<StoredEvent>, DbError> {
        let row =
            sqlx::query("SELECT seq, line FROM events WHERE build = $1 ORDER BY seq DESC LIMIT 1")
                .bind(signed(build))
                .fetch_optional(&self.pool)
                .await
                .map_err(failed("read events"))?;
        row.map(|row| {
            let seq = unsigned(row.try_get(0).map_err(failed("read an event"))?);
            Ok(StoredEvent { seq, line: row.try_get(1).map_err(failed("read an event"))? })
        })
        .transpose()
    }

    /// The state after a build's step, by the step's name or position.
    pub async fn step_state(&self, build: u64, step: &str) -> Result<Option<StateId>, DbError> {
        let position = step.parse::<u32>().map_or(-1, i64::from);
        let row = sqlx::query(
            "SELECT state FROM steps WHERE build = $1 AND (name = $2 OR step = $3)
             ORDER BY CASE WHEN name = $2 THEN 0 ELSE 1 END LIMIT 1",
        )
        .bind(signed(build))
        .bind(step)
        .bind(position)
        .fetch_optional(&self.pool)
        .await
        .map_err(failed("read a step's state"))?;
        row.map(|row| column(&row, 0, "a step's state")).transpose()
    }

    /// The state that a remembered step made this one of, and the step's name; the last one. The
    /// origin was made of the state whose digest is all zeros.
    pub async fn made_from(&self, state: StateId) -> Result<Option<(StateId, String)>, DbError> {
        let what = "a remembered step";
        let row = sqlx::query(
            "SELECT parent, step FROM step_cache WHERE state = $1 AND parent <> state
             ORDER BY serial DESC LIMIT 1",
        )
        .bind(state.to_string())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed("read a remembered step"))?;
        let Some(row) = row else { return Ok(None) };
        let step: String = row.try_get(1).map_err(failed("read a remembered step"))?;
        Ok(Some((column(&row, 0, what)?, step)))
    }

    /// What was asked for, and the step's name, where a build led to this state; the last one.
    pub async fn made_by(&self, state: StateId) -> Result<Option<(BuildRequest, String)>, DbError> {
        let row = sqlx::query(
            "SELECT builds.request, steps.name FROM steps JOIN builds ON builds.id = steps.build
             WHERE steps.state = $1 ORDER BY steps.build DESC, steps.step DESC LIMIT 1",
        )
        .bind(state.to_string())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed("find the build of a state"))?;
        let Some(row) = row else { return Ok(None) };
        let request: String = row.try_get(0).map_err(failed("find the build of a state"))?;
        let step: String = row.try_get(1).map_err(failed("find the build of a state"))?;
        let request =
            serde_json::from_str(&request).map_err(|_| nonsense("a build's request", &request))?;
        Ok(Some((request, step)))
    }

    /// All images by name.
    pub async fn images(&self) -> Result<Vec<ImageInfo>, DbError> {
        let rows = sqlx::query("SELECT name, state, build, sealed_at_ms FROM images ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list images"))?;
        rows.iter().map(image_info).collect()
    }

    /// One image.
    pub async fn image(&self, name: &str) -> Result<Option<ImageInfo>, DbError> {
        let row =
            sqlx::query("SELECT name, state, build, sealed_at_ms FROM images WHERE name = $1")
                .bind(name)
                .fetch_optional(&self.pool)
                .await
                .map_err(failed("read an image"))?;
        row.as_ref().map(image_info).transpose()
    }

    /// A timeline, oldest first.
    pub async fn timeline(&self, name: &str) -> Result<Vec<TimelineEntry>, DbError> {
        let rows = sqlx::query(
            "SELECT timeline, sequence, state, parent, cause, at_ms, labels FROM timeline
             WHERE timeline = $1 ORDER BY sequence",
        )
        .bind(name)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read a timeline"))?;
        rows.iter().map(timeline_entry).collect()
    }

    /// The last numbers an image's tests measured, newest first.
    pub async fn metrics(&self, image: &str, limit: u32) -> Result<Vec<MetricPoint>, DbError> {
        let rows = sqlx::query(
            "SELECT build, step, test, name, value, unit, at_ms FROM metrics WHERE image = $1
             ORDER BY at_ms DESC, build DESC, seq DESC, part LIMIT $2",
        )
        .bind(image)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read metrics"))?;
        rows.iter().map(|row| metric(row).map_err(failed("read a metric"))).collect()
    }

    /// The state remembered for a step.
    pub async fn cached_step(&self, key: &StepKey) -> Result<Option<StateId>, DbError> {
        let row = sqlx::query(
            "SELECT state FROM step_cache WHERE parent = $1 AND definition = $2 AND inputs = $3",
        )
        .bind(key.parent.to_string())
        .bind(key.definition.to_string())
        .bind(key.inputs.to_string())
        .fetch_optional(&self.pool)
        .await
        .map_err(failed("look a step up"))?;
        row.map(|row| column(&row, 0, "a remembered step")).transpose()
    }

    /// Whether this very test is remembered to have passed on this very state.
    pub async fn passed(&self, key: &TestKey) -> Result<bool, DbError> {
        sqlx::query(
            "SELECT 1 FROM tests_passed WHERE state = $1 AND before = $2 AND definition = $3",
        )
        .bind(key.state.to_string())
        .bind(before_text(key))
        .bind(key.definition.to_string())
        .fetch_optional(&self.pool)
        .await
        .map(|row| row.is_some())
        .map_err(failed("look a passed test up"))
    }

    /// The key remembered last for an image's step.
    pub async fn last_key(&self, image: &str, step: &str) -> Result<Option<StepKey>, DbError> {
        let row = sqlx::query(
            "SELECT parent, definition, inputs FROM step_cache WHERE image = $1 AND step = $2
             ORDER BY serial DESC LIMIT 1",
        )
        .bind(image)
        .bind(step)
        .fetch_optional(&self.pool)
        .await
        .map_err(failed("look a step up"))?;
        row.map(|row| {
            Ok(StepKey {
                image: image.to_owned(),
                step: step.to_owned(),
                parent: column(&row, 0, "a remembered step")?,
                definition: column::<Digest>(&row, 1, "a remembered step")?,
                inputs: column::<Digest>(&row, 2, "a remembered step")?,
            })
        })
        .transpose()
    }

    /// Every state that must outlive a collection: images and timelines, of each image's last
    /// build all steps and what it ended with, what serves or served a service, and what rollouts
    /// that go on are about.
    pub async fn states_kept(&self) -> Result<Vec<StateId>, DbError> {
        let rows = sqlx::query(
            "SELECT state FROM images UNION SELECT state FROM timeline
             UNION SELECT state FROM steps
                   WHERE build IN (SELECT MAX(id) FROM builds GROUP BY name)
             UNION SELECT state FROM builds WHERE state IS NOT NULL
                   AND id IN (SELECT MAX(id) FROM builds GROUP BY name)
             UNION SELECT state FROM services WHERE state IS NOT NULL
             UNION SELECT before FROM services WHERE before IS NOT NULL
             UNION SELECT state FROM rollouts WHERE state IS NOT NULL AND goes_on = 1
             UNION SELECT before FROM rollouts WHERE before IS NOT NULL AND goes_on = 1",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list states in use"))?;
        rows.iter().map(|row| column(row, 0, "a state in use")).collect()
    }

    /// The last event of the last build of every image: it may name further states.
    pub async fn last_builds(&self) -> Result<Vec<u64>, DbError> {
        let rows = sqlx::query("SELECT MAX(id) FROM builds GROUP BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list builds"))?;
        rows.iter().map(|row| row.try_get(0).map(unsigned).map_err(failed("list builds"))).collect()
    }

    /// Every state that a remembered step leads to or a remembered test looked at.
    pub async fn cached_states(&self) -> Result<Vec<StateId>, DbError> {
        let rows = sqlx::query("SELECT state FROM step_cache UNION SELECT state FROM tests_passed")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list remembered steps"))?;
        rows.iter().map(|row| column(row, 0, "a remembered step")).collect()
    }

    /// Forgets the steps that led to these states and the tests that looked at them; says how
    /// many steps.
    pub async fn forget_steps(&self, states: &[StateId]) -> Result<u64, DbError> {
        let mut tx = self.pool.begin().await.map_err(failed("begin a transaction"))?;
        let mut forgotten = 0;
        for chunk in states.chunks(100) {
            forgotten += delete(&mut tx, "DELETE FROM step_cache WHERE state IN (", chunk).await?;
            delete(&mut tx, "DELETE FROM tests_passed WHERE state IN (", chunk).await?;
        }
        self.commit(tx).await?;
        Ok(forgotten)
    }
}

/// Runs a statement that ends in an open list of states.
async fn delete(
    tx: &mut SqliteConnection,
    statement: &'static str,
    states: &[StateId],
) -> Result<u64, DbError> {
    let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(statement);
    let mut list = query.separated(", ");
    for state in states {
        list.push_bind(state.to_string());
    }
    query.push(")");
    let done = query.build().execute(tx).await.map_err(failed("forget what is gone"))?;
    Ok(done.rows_affected())
}

fn select_builds() -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(BUILD_COLUMNS).push(" FROM builds ");
    query
}

fn build_info(row: &SqliteRow) -> Result<BuildInfo, DbError> {
    let read = || -> Result<_, sqlx::Error> {
        Ok((
            row.try_get::<i64, _>("id")?,
            row.try_get("name")?,
            row.try_get("recipe")?,
            row.try_get::<Option<String>, _>("state")?,
            row.try_get("started_at_ms")?,
            row.try_get("ended_at_ms")?,
            row.try_get("reason")?,
            row.try_get::<String, _>("phase")?,
            row.try_get::<String, _>("verdict")?,
        ))
    };
    let (id, name, recipe, state, started_at_ms, ended_at_ms, reason, phase, verdict) =
        read().map_err(failed("read a build"))?;
    Ok(BuildInfo {
        id: unsigned(id),
        name,
        recipe,
        phase: parse_phase(&phase)?,
        verdict: parse_verdict(&verdict)?,
        state: state.as_deref().map(|text| parse(text, "a build's state")).transpose()?,
        started_at_ms,
        ended_at_ms,
        reason,
    })
}

fn image_info(row: &SqliteRow) -> Result<ImageInfo, DbError> {
    let what = "read an image";
    Ok(ImageInfo {
        name: row.try_get(0).map_err(failed(what))?,
        state: column(row, 1, "an image's state")?,
        build: unsigned(row.try_get(2).map_err(failed(what))?),
        sealed_at_ms: row.try_get(3).map_err(failed(what))?,
    })
}

fn timeline_entry(row: &SqliteRow) -> Result<TimelineEntry, DbError> {
    let what = "read a timeline";
    let parent: Option<String> = row.try_get(3).map_err(failed(what))?;
    let cause: String = row.try_get(4).map_err(failed(what))?;
    let labels: String = row.try_get(6).map_err(failed(what))?;
    Ok(TimelineEntry {
        timeline: row.try_get(0).map_err(failed(what))?,
        sequence: unsigned(row.try_get(1).map_err(failed(what))?),
        state: column(row, 2, "a timeline's state")?,
        parent: parent.as_deref().map(|text| parse(text, "a timeline's state")).transpose()?,
        cause: serde_json::from_str(&cause).map_err(|_| nonsense("a cause", &cause))?,
        at_ms: row.try_get(5).map_err(failed(what))?,
        labels: serde_json::from_str(&labels).map_err(|_| nonsense("labels", &labels))?,
    })
}

fn metric(row: &SqliteRow) -> Result<MetricPoint, sqlx::Error> {
    Ok(MetricPoint {
        build: unsigned(row.try_get(0)?),
        step: row.try_get(1)?,
        test: row.try_get(2)?,
        name: row.try_get(3)?,
        value: row.try_get(4)?,
        unit: row.try_get(5)?,
        at_ms: row.try_get(6)?,
    })
}

fn column<T: FromStr>(row: &SqliteRow, index: usize, what: &'static str) -> Result<T, DbError> {
    let text: String = row.try_get(index).map_err(failed("read a column"))?;
    parse(&text, what)
}

/// The same of a column that may hold nothing.
pub(super) fn column_if_any<T: FromStr>(
    row: &SqliteRow,
    index: usize,
    what: &'static str,
) -> Result<Option<T>, DbError> {
    let text: Option<String> = row.try_get(index).map_err(failed("read a column"))?;
    text.map(|text| parse(&text, what)).transpose()
}

fn parse<T: FromStr>(text: &str, what: &'static str) -> Result<T, DbError> {
    text.parse().map_err(|_| nonsense(what, text))
}

fn nonsense(what: &'static str, value: &str) -> DbError {
    DbError::Row { what, value: value.chars().take(80).collect() }
}

/// How a phase is written; the same word as on the wire.
pub(super) fn phase_text(phase: BuildPhase) -> &'static str {
    match phase {
        BuildPhase::Running => "running",
        BuildPhase::Asking => "asking",
        BuildPhase::Halted => "halted",
        BuildPhase::Done => "done",
        BuildPhase::Cancelled => "cancelled",
        BuildPhase::Broken => "broken",
    }
}

fn parse_phase(text: &str) -> Result<BuildPhase, DbError> {
    use BuildPhase::{Asking, Broken, Cancelled, Done, Halted, Running};
    [Running, Asking, Halted, Done, Cancelled, Broken]
        .into_iter()
        .find(|phase| phase_text(*phase) == text)
        .ok_or_else(|| nonsense("a build's phase", text))
}

fn parse_verdict(text: &str) -> Result<Verdict, DbError> {
    [Verdict::Pass, Verdict::Inconclusive, Verdict::Fail]
        .into_iter()
        .find(|verdict| verdict.to_string() == text)
        .ok_or_else(|| nonsense("a verdict", text))
}

/// The other direction of [`signed`].
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
