//! Letting a timeline grow, within the writer's transaction.

use sqlx::{Row, SqliteConnection};
use umbra_state::{Cause, StateId};

use super::read::unsigned;
use super::record::signed;
use super::{DbError, failed};

/// The end of a timeline.
pub(super) struct Timeline<'a> {
    name: &'a str,
    next: u64,
    last: Option<String>,
}

impl<'a> Timeline<'a> {
    /// Where it ends now.
    pub(super) async fn load(tx: &mut SqliteConnection, name: &'a str) -> Result<Self, DbError> {
        let last = sqlx::query(
            "SELECT sequence, state FROM timeline WHERE timeline = $1
             ORDER BY sequence DESC LIMIT 1",
        )
        .bind(name)
        .fetch_optional(tx)
        .await
        .map_err(failed("read a timeline"))?;
        let Some(row) = last else { return Ok(Self { name, next: 0, last: None }) };
        let sequence: i64 = row.try_get(0).map_err(failed("read a timeline"))?;
        let state: String = row.try_get(1).map_err(failed("read a timeline"))?;
        Ok(Self { name, next: unsigned(sequence) + 1, last: Some(state) })
    }

    /// Whether this is its last state.
    pub(super) fn ends_with(&self, state: StateId) -> bool {
        self.last.as_deref() == Some(state.to_string().as_str())
    }

    /// One more entry.
    pub(super) async fn grow(
        &mut self,
        tx: &mut SqliteConnection,
        state: StateId,
        cause: &Cause,
        at_ms: i64,
    ) -> Result<(), DbError> {
        let state = state.to_string();
        sqlx::query(
            "INSERT INTO timeline (timeline, sequence, state, parent, cause, at_ms, labels)
             VALUES ($1, $2, $3, $4, $5, $6, '[]')",
        )
        .bind(self.name)
        .bind(signed(self.next))
        .bind(&state)
        .bind(self.last.replace(state.clone()))
        .bind(serde_json::to_string(cause).unwrap_or_default())
        .bind(at_ms)
        .execute(tx)
        .await
        .map_err(failed("let a timeline grow"))?;
        self.next += 1;
        Ok(())
    }
}
