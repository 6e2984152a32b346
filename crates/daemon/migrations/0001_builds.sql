CREATE TABLE builds (
    id            BIGINT PRIMARY KEY,
    name          TEXT NOT NULL,
    recipe        TEXT NOT NULL,
    request       TEXT NOT NULL,
    phase         TEXT NOT NULL,
    verdict       TEXT NOT NULL,
    state         TEXT,
    started_at_ms BIGINT NOT NULL,
    ended_at_ms   BIGINT,
    reason        TEXT
);

CREATE TABLE events (
    build BIGINT NOT NULL,
    seq   BIGINT NOT NULL,
    line  TEXT NOT NULL,
    PRIMARY KEY (build, seq)
);

CREATE TABLE steps (
    build BIGINT NOT NULL,
    step  BIGINT NOT NULL,
    name  TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (build, step)
);

CREATE INDEX steps_of_state ON steps (state);

CREATE TABLE step_cache (
    parent     TEXT NOT NULL,
    definition TEXT NOT NULL,
    inputs     TEXT NOT NULL,
    image      TEXT NOT NULL,
    step       TEXT NOT NULL,
    state      TEXT NOT NULL,
    serial     BIGINT NOT NULL,
    PRIMARY KEY (parent, definition, inputs)
);

CREATE INDEX step_cache_last ON step_cache (image, step, serial);

CREATE TABLE tests_passed (
    state      TEXT NOT NULL,
    before     TEXT NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (state, before, definition)
);

CREATE TABLE images (
    name         TEXT PRIMARY KEY,
    state        TEXT NOT NULL,
    build        BIGINT NOT NULL,
    sealed_at_ms BIGINT NOT NULL
);

CREATE TABLE timeline (
    timeline TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    state    TEXT NOT NULL,
    parent   TEXT,
    cause    TEXT NOT NULL,
    at_ms    BIGINT NOT NULL,
    labels   TEXT NOT NULL,
    PRIMARY KEY (timeline, sequence)
);

CREATE TABLE metrics (
    build BIGINT NOT NULL,
    seq   BIGINT NOT NULL,
    part  BIGINT NOT NULL,
    image TEXT NOT NULL,
    step  TEXT NOT NULL,
    test  TEXT NOT NULL,
    name  TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    unit  TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (build, seq, part)
);

CREATE INDEX metrics_of_image ON metrics (image, at_ms);
