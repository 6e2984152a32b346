-- Numbers over time, of which it is forecast when they will be where they must not be.
CREATE TABLE drift_points (
    name  TEXT NOT NULL,
    item  TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name, item, at_ms)
);
