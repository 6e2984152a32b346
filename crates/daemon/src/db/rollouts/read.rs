//! Questions about rollouts.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{OutboxRow, RolloutRow, ServiceRow};
use crate::db::read::{column_if_any, unsigned};
use crate::db::record::signed;
use crate::db::{Db, DbError, StoredEvent, failed};

const COLUMNS: &str = "id, service, state, before, goes_on, phase, request, plan, made, \
                       controller, status, began_at_ms, ended_at_ms";

impl Db {
    /// The number the next rollout gets.
    pub async fn next_rollout(&self) -> Result<u64, DbError> {
        let row = sqlx::query("SELECT COALESCE(MAX(id), 0) + 1 FROM rollouts")
            .fetch_one(&self.pool)
            .await
            .map_err(failed("count rollouts"))?;
        row.try_get::<i64, _>(0).map(unsigned).map_err(failed("count rollouts"))
    }

    /// One rollout.
    pub async fn rollout(&self, id: u64) -> Result<Option<RolloutRow>, DbError> {
        let mut query = select();
        query.push("WHERE id = ").push_bind(signed(id));
        Ok(self.some(query).await?.pop())
    }

    /// The last rollout of a service.
    pub async fn last_rollout(&self, service: &str) -> Result<Option<RolloutRow>, DbError> {
        let mut query = select();
        query.push("WHERE service = ").push_bind(service).push(" ORDER BY id DESC LIMIT 1");
        Ok(self.some(query).await?.pop())
    }

    /// The last rollouts, newest first.
    pub async fn rollouts(&self, limit: u32) -> Result<Vec<RolloutRow>, DbError> {
        let mut query = select();
        query.push("ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        self.some(query).await
    }

    /// The last rollout of each service, by its name.
    pub async fn last_rollouts(&self) -> Result<Vec<RolloutRow>, DbError> {
        let mut query = select();
        query.push("WHERE id IN (SELECT MAX(id) FROM rollouts GROUP BY service) ORDER BY service");
        self.some(query).await
    }

    /// Rollouts to which something may happen still, oldest first.
    pub async fn rollouts_that_go_on(&self) -> Result<Vec<RolloutRow>, DbError> {
        let mut query = select();
        query.push("WHERE goes_on = 1 ORDER BY id");
        self.some(query).await
    }

    async fn some(&self, mut query: QueryBuilder<Sqlite>) -> Result<Vec<RolloutRow>, DbError> {
        let rows = query.build().fetch_all(&self.pool).await.map_err(failed("read rollouts"))?;
        rows.iter().map(rollout).collect()
    }

    /// A rollout's events from number `from` on, at most `limit`.
    pub async fn rollout_events(
        &self,
        rollout: u64,
        from: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, DbError> {
        let rows = sqlx::query(
            "SELECT seq, line FROM rollout_events WHERE rollout = $1 AND seq >= $2
             ORDER BY seq LIMIT $3",
        )
        .bind(signed(rollout))
        .bind(signed(from))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read a rollout's events"))?;
        let event = |row: &SqliteRow| {
            Ok(StoredEvent { seq: unsigned(row.try_get(0)?), line: row.try_get(1)? })
        };
        rows.iter().map(|row| event(row).map_err(failed("read a rollout's events"))).collect()
    }

    /// The number a rollout's next event gets.
    pub async fn next_rollout_event(&self, rollout: u64) -> Result<u64, DbError> {
        let doing = "count a rollout's events";
        let row =
            sqlx::query("SELECT COALESCE(MAX(seq), 0) + 1 FROM rollout_events WHERE rollout = $1")
                .bind(signed(rollout))
                .fetch_one(&self.pool)
                .await
                .map_err(failed(doing))?;
        row.try_get::<i64, _>(0).map(unsigned).map_err(failed(doing))
    }

    /// All services, by name.
    pub async fn services(&self) -> Result<Vec<ServiceRow>, DbError> {
        let rows = sqlx::query("SELECT name, state, before, record FROM services ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list services"))?;
        rows.iter().map(service).collect()
    }

    /// One service.
    pub async fn service(&self, name: &str) -> Result<Option<ServiceRow>, DbError> {
        let row = sqlx::query("SELECT name, state, before, record FROM services WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("read a service"))?;
        row.as_ref().map(service).transpose()
    }

    /// News on their way, in order.
    pub async fn rollout_outbox(&self) -> Result<Vec<OutboxRow>, DbError> {
        let doing = "read news that are on their way";
        let rows = sqlx::query("SELECT rollout, row FROM rollout_outbox ORDER BY id")
            .fetch_all(&self.pool)
            .await
            .map_err(failed(doing))?;
        let read = |row: &SqliteRow| {
            Ok(OutboxRow { rollout: unsigned(row.try_get(0)?), row: row.try_get(1)? })
        };
        rows.iter().map(|row| read(row).map_err(failed(doing))).collect()
    }
}

fn select() -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS).push(" FROM rollouts ");
    query
}

fn rollout(row: &SqliteRow) -> Result<RolloutRow, DbError> {
    let read = || -> Result<RolloutRow, sqlx::Error> {
        Ok(RolloutRow {
            id: unsigned(row.try_get("id")?),
            service: row.try_get("service")?,
            state: None,
            before: None,
            goes_on: row.try_get::<i64, _>("goes_on")? != 0,
            phase: row.try_get("phase")?,
            request: row.try_get("request")?,
            plan: row.try_get("plan")?,
            made: row.try_get("made")?,
            controller: row.try_get("controller")?,
            status: row.try_get("status")?,
            began_at_ms: row.try_get("began_at_ms")?,
            ended_at_ms: row.try_get("ended_at_ms")?,
        })
    };
    Ok(RolloutRow {
        state: column_if_any(row, 2, "a rollout's state")?,
        before: column_if_any(row, 3, "a rollout's state")?,
        ..read().map_err(failed("read a rollout"))?
    })
}

fn service(row: &SqliteRow) -> Result<ServiceRow, DbError> {
    Ok(ServiceRow {
        name: row.try_get(0).map_err(failed("read a service"))?,
        state: column_if_any(row, 1, "a service's state")?,
        before: column_if_any(row, 2, "a service's state")?,
        record: row.try_get(3).map_err(failed("read a service"))?,
    })
}
