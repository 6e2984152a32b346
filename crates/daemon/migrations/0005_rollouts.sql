-- `request`, `plan`, `made`, `controller` and `status` are JSON.
CREATE TABLE rollouts (
    id          BIGINT PRIMARY KEY,
    service     TEXT NOT NULL,
    state       TEXT,
    before      TEXT,
    goes_on     BIGINT NOT NULL,
    phase       TEXT NOT NULL,
    request     TEXT NOT NULL,
    plan        TEXT NOT NULL,
    made        TEXT NOT NULL,
    controller  TEXT NOT NULL,
    status      TEXT NOT NULL,
    began_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT
);

CREATE INDEX rollouts_of_service ON rollouts (service, id);

CREATE UNIQUE INDEX rollouts_that_go_on ON rollouts (service) WHERE goes_on = 1;

-- `kind` says what is dropped first: of standings only the newest is kept.
CREATE TABLE rollout_events (
    rollout BIGINT NOT NULL,
    seq     BIGINT NOT NULL,
    kind    TEXT NOT NULL,
    line    TEXT NOT NULL,
    PRIMARY KEY (rollout, seq)
);

CREATE INDEX rollout_events_of_kind ON rollout_events (rollout, kind, seq);

-- What is in production, and what was before, as JSON.
CREATE TABLE services (
    name   TEXT PRIMARY KEY,
    state  TEXT,
    before TEXT,
    record TEXT NOT NULL
);

-- News of rollouts on their way to a sink.
CREATE TABLE rollout_outbox (
    id      BIGINT PRIMARY KEY,
    rollout BIGINT NOT NULL,
    row     TEXT NOT NULL
);
