"""The tables of ``SqliteStore``, and the migrations from older versions.

A job's state is in a row of its own, apart from its input, because SQLite rewrites a whole row when
anything in it changes. All times are in seconds by the clock of the store; headers, events and
errors are JSON.
"""

__all__ = ["APPLICATION_ID", "MIGRATIONS"]

APPLICATION_ID = 0x504B4A53  # marks a file as ours (https://www.sqlite.org/fileformat2.html)

_FIRST = """
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    handler TEXT NOT NULL,
    request_id TEXT NOT NULL,
    priority INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    attempts_limit INTEGER NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    webhook_url TEXT,
    idempotency_key TEXT,
    fingerprint BLOB NOT NULL,
    status TEXT NOT NULL,
    due_at REAL NOT NULL,
    -- Of a queued job whether a claim has seen that it is due, so that those that wait for a later
    -- time are in nobody's way in line; NULL of any other.
    is_due INTEGER,
    started_at REAL,
    finished_at REAL,
    attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    progress REAL,
    message TEXT,
    error BLOB,
    output BLOB
);
CREATE INDEX jobs_by_status ON jobs (status);
CREATE INDEX jobs_in_line ON jobs (handler, is_due, rank, seq, due_at, expires_at)
    WHERE is_due IS NOT NULL;
CREATE INDEX jobs_by_due ON jobs (handler, is_due, due_at) WHERE is_due IS NOT NULL;
CREATE INDEX jobs_by_expiry ON jobs (expires_at)
    WHERE is_due IS NOT NULL AND expires_at IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_key ON jobs (handler, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

CREATE TABLE inputs (
    job INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE events (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (job, id)
);

CREATE TABLE counts (
    status TEXT, handler TEXT, jobs INTEGER NOT NULL, PRIMARY KEY (status, handler)
) WITHOUT ROWID;
CREATE TRIGGER job_added AFTER INSERT ON jobs BEGIN
    INSERT INTO counts VALUES (new.status, new.handler, 1)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER job_changed AFTER UPDATE OF status ON jobs BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE status = old.status AND handler = old.handler;
    INSERT INTO counts VALUES (new.status, new.handler, 1)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER job_deleted AFTER DELETE ON jobs BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE status = old.status AND handler = old.handler;
END;

CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    url TEXT NOT NULL,
    host TEXT NOT NULL,
    body BLOB NOT NULL,
    request_id TEXT NOT NULL,
    job_id TEXT,
    is_guarded INTEGER NOT NULL,
    created_at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    due_at REAL  -- NULL where it has arrived or was given up
);
CREATE INDEX deliveries_by_due ON deliveries (due_at, seq, host) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_by_job ON deliveries (job_id, due_at) WHERE job_id IS NOT NULL;

CREATE TABLE attempts (
    delivery_id TEXT NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    url TEXT NOT NULL,
    at REAL NOT NULL,
    duration REAL NOT NULL,
    status INTEGER,
    error TEXT,
    next_at REAL
);
CREATE INDEX attempts_by_delivery ON attempts (delivery_id);
"""

_OWNERS = """
ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_by_owner ON jobs (owner) WHERE owner <> '';
CREATE INDEX jobs_by_owner_and_status ON jobs (owner, status) WHERE owner <> '';
DROP INDEX jobs_by_key;
CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, handler, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
"""

# Of a queued job that is a suspect, is_due is 2: it is out of line, as it has to run alone.
_SUSPECTS = """
ALTER TABLE jobs ADD COLUMN is_suspect INTEGER NOT NULL DEFAULT 0;
"""

# Deliveries to one host wait in a line; whatever asks for what is due asks line by line. For
# clients' URLs, the hosts of one owner share places.
_LINES = """
ALTER TABLE deliveries ADD COLUMN owner TEXT NOT NULL DEFAULT '';
UPDATE deliveries SET owner = CASE
    WHEN is_guarded AND host NOT LIKE '[%'
    THEN rtrim(substr(host, 1, instr(host || ':', ':') - 1), '.') ELSE host
END;
DROP INDEX deliveries_by_due;
CREATE INDEX deliveries_in_line ON deliveries (is_guarded, host, due_at, seq)
    WHERE due_at IS NOT NULL;
"""

# What a job takes, without its deliveries, and the part of that which its input takes. The input of
# a job that has ended and cannot be retried is not kept.
_BYTES = """
ALTER TABLE jobs ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN input_bytes INTEGER NOT NULL DEFAULT 0;
DROP TRIGGER job_added;
DROP TRIGGER job_changed;
DROP TRIGGER job_deleted;
DELETE FROM inputs WHERE job IN (
    SELECT seq FROM jobs WHERE status IN ('succeeded', 'cancelled', 'expired')
);
UPDATE jobs SET input_bytes = coalesce(
    (SELECT length(headers) + length(body) FROM inputs WHERE job = seq), 0
);
UPDATE jobs SET bytes = 1024 + input_bytes + coalesce(length(output), 0)
    + coalesce(length(error), 0)
    + coalesce((SELECT sum(length(data) + 64) FROM events WHERE job = seq), 0);

-- Deliveries are counted under a status of their own, without a handler.
DROP TABLE counts;
CREATE TABLE counts (
    status TEXT,
    handler TEXT,
    jobs INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (status, handler)
) WITHOUT ROWID;
INSERT INTO counts SELECT status, handler, count(*), sum(bytes) FROM jobs GROUP BY status, handler;
INSERT INTO counts
    SELECT 'delivery', '', count(*), coalesce(sum(length(body) + 1024), 0) FROM deliveries;

CREATE TRIGGER job_added AFTER INSERT ON jobs BEGIN
    INSERT INTO counts VALUES (new.status, new.handler, 1, new.bytes)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER job_grown AFTER UPDATE OF bytes ON jobs
    WHEN new.status = old.status AND new.bytes <> old.bytes
BEGIN
    UPDATE counts SET bytes = bytes + new.bytes - old.bytes
        WHERE status = new.status AND handler = new.handler;
END;
CREATE TRIGGER job_changed AFTER UPDATE OF status ON jobs WHEN new.status <> old.status BEGIN
    UPDATE counts SET jobs = jobs - 1, bytes = bytes - old.bytes
        WHERE status = old.status AND handler = old.handler;
    INSERT INTO counts VALUES (new.status, new.handler, 1, new.bytes)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1, bytes = bytes + new.bytes;
    DELETE FROM inputs
        WHERE job = new.seq AND new.status IN ('succeeded', 'cancelled', 'expired');
END;
CREATE TRIGGER job_deleted AFTER DELETE ON jobs BEGIN
    UPDATE counts SET jobs = jobs - 1, bytes = bytes - old.bytes
        WHERE status = old.status AND handler = old.handler;
END;
CREATE TRIGGER delivery_added AFTER INSERT ON deliveries BEGIN
    UPDATE counts SET jobs = jobs + 1, bytes = bytes + length(new.body) + 1024
        WHERE status = 'delivery';
END;
CREATE TRIGGER delivery_deleted AFTER DELETE ON deliveries BEGIN
    UPDATE counts SET jobs = jobs - 1, bytes = bytes - length(old.body) - 1024
        WHERE status = 'delivery';
END;

-- The clock of the store, as of when it was last opened, or the wall clock set; see SteadyClock.
CREATE TABLE clock (boot TEXT, ahead REAL NOT NULL, wall_ahead REAL NOT NULL);
"""

_REQUEST_LINES = """
ALTER TABLE inputs ADD COLUMN request_line TEXT NOT NULL DEFAULT '';
"""

# A large input is in a file beside the database, which has this name and size.
_FILES = """
ALTER TABLE inputs ADD COLUMN file TEXT;
ALTER TABLE inputs ADD COLUMN file_bytes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX inputs_by_file ON inputs (file) WHERE file IS NOT NULL;
"""

# The content type of an output that is not JSON.
_OUTPUT_TYPES = """
ALTER TABLE jobs ADD COLUMN output_type TEXT;
"""

# The headers of a delivery that continue a trace.
_TRACES = """
ALTER TABLE deliveries ADD COLUMN trace TEXT NOT NULL DEFAULT '[]';
"""

# Number n turns version n - 1 into version n; version 0 is an empty file. A migration never changes
# once it is released.
MIGRATIONS = [
    _FIRST,
    _OWNERS,
    _SUSPECTS,
    _LINES,
    _BYTES,
    _REQUEST_LINES,
    _FILES,
    _OUTPUT_TYPES,
    _TRACES,
]
