CREATE TABLE primaries (
    name        TEXT PRIMARY KEY,
    root        TEXT,
    image       TEXT,
    config_path TEXT,
    config      TEXT NOT NULL,
    good        BIGINT NOT NULL,
    added_at_ms BIGINT NOT NULL
);

-- Historical shadows. `root` names the snapshot's first object.
CREATE TABLE primary_shadows (
    name        TEXT NOT NULL,
    sequence    BIGINT NOT NULL,
    root        TEXT NOT NULL,
    cause       TEXT NOT NULL,
    labels      TEXT NOT NULL,
    kept        BIGINT NOT NULL,
    items       BIGINT NOT NULL,
    taken_at_ms BIGINT NOT NULL,
    PRIMARY KEY (name, sequence)
);

-- Objects of snapshots: zstd frames of what has the BLAKE3 digest `digest`.
CREATE TABLE drift_objects (
    digest TEXT PRIMARY KEY,
    frame  BYTEA NOT NULL
);

-- One row per item that differs or did so lately.
CREATE TABLE drift_lives (
    name TEXT NOT NULL,
    item TEXT NOT NULL,
    life TEXT NOT NULL,
    PRIMARY KEY (name, item)
);

-- Every reading that became another.
CREATE TABLE drift_changes (
    name      TEXT NOT NULL,
    sequence  BIGINT NOT NULL,
    parameter TEXT NOT NULL,
    at_ms     BIGINT NOT NULL,
    change    TEXT NOT NULL,
    PRIMARY KEY (name, sequence)
);

CREATE INDEX drift_changes_of_parameter ON drift_changes (name, parameter, sequence);
CREATE INDEX drift_changes_at ON drift_changes (name, at_ms);

-- What a person follows: alerts, receipts, rollbacks.
CREATE TABLE drift_events (
    sequence BIGINT PRIMARY KEY,
    name     TEXT NOT NULL,
    at_ms    BIGINT NOT NULL,
    line     TEXT NOT NULL
);

CREATE INDEX drift_events_of_primary ON drift_events (name, sequence);

-- Alerts on their way to a sink.
CREATE TABLE drift_outbox (
    id  TEXT PRIMARY KEY,
    row TEXT NOT NULL
);

-- Counts that survive a restart.
CREATE TABLE drift_counts (
    name   TEXT PRIMARY KEY,
    counts TEXT NOT NULL
);

CREATE TABLE rollbacks (
    id          BIGINT PRIMARY KEY,
    name        TEXT NOT NULL,
    begun_at_ms BIGINT NOT NULL,
    record      TEXT NOT NULL
);
