"""The tables of ``PostgresStore``, and the migrations from older versions.

All times are in seconds by the clock of the store, except for leases, which are by that of the
database. A job is one row: PostgreSQL keeps large values apart from it, and leaves them alone while
the rest of the row changes.
"""

__all__ = ["MIGRATIONS"]

_FIRST = """
CREATE TABLE jobs (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    handler text NOT NULL,
    owner text NOT NULL,
    request_id text NOT NULL,
    priority smallint NOT NULL,
    rank bigint NOT NULL GENERATED ALWAYS AS (seq + (2 - priority) * 256) STORED,
    attempts_limit integer NOT NULL,
    created_at double precision NOT NULL,
    expires_at double precision,
    webhook_url text,
    idempotency_key text,
    fingerprint bytea NOT NULL,
    status text NOT NULL,
    -- Of a queued job: 0 if it waits for a later time, as far as anybody has looked, 1 if it is in
    -- line, 2 if it is a suspect.
    is_due smallint,
    due_at double precision NOT NULL,
    started_at double precision,
    finished_at double precision,
    attempts integer NOT NULL,
    claimant text,  -- the server of the last attempt
    is_asked_to_end boolean NOT NULL,
    crashes integer NOT NULL,
    is_suspect boolean NOT NULL,
    progress double precision,
    message bytea,
    error bytea,
    output bytea,
    output_type text,
    headers text NOT NULL,
    request_line bytea NOT NULL,
    body bytea NOT NULL,
    bytes bigint NOT NULL,
    input_bytes bigint NOT NULL
);
-- What is stored is mostly compressed already, or as short as it gets.
ALTER TABLE jobs ALTER body SET STORAGE EXTERNAL, ALTER output SET STORAGE EXTERNAL;
CREATE INDEX jobs_in_line ON jobs (handler, is_due, rank, seq) WHERE is_due IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (handler, due_at) WHERE is_due = 0;
CREATE INDEX jobs_suspect ON jobs (seq) WHERE is_due = 2;
CREATE INDEX jobs_running ON jobs (claimant) WHERE status = 'running';
CREATE INDEX jobs_by_expiry ON jobs (expires_at)
    WHERE is_due IS NOT NULL AND expires_at IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (finished_at, seq) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_by_status ON jobs (status, seq) WHERE status <> 'succeeded';
CREATE INDEX jobs_by_owner ON jobs (owner, seq) WHERE owner <> '';
CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, handler, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

CREATE TABLE events (
    job bigint NOT NULL,
    id integer NOT NULL,
    kind text NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (job, id)
);

CREATE TABLE deliveries (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    url text NOT NULL,
    host text NOT NULL,
    owner text NOT NULL,
    body bytea NOT NULL,
    request_id text NOT NULL,
    job_id text,
    is_guarded boolean NOT NULL,
    trace text NOT NULL,
    created_at double precision NOT NULL,
    attempts integer NOT NULL,
    due_at double precision,  -- NULL where it has arrived or was given up
    is_in_line boolean NOT NULL DEFAULT false,  -- whether hosts and owners count it
    taken_by text  -- the server that posts it
);
CREATE INDEX deliveries_in_line ON deliveries (is_guarded, host, due_at, seq)
    WHERE due_at IS NOT NULL AND taken_by IS NULL;
CREATE INDEX deliveries_new ON deliveries (is_guarded) WHERE due_at IS NOT NULL AND NOT is_in_line;
CREATE INDEX deliveries_taken ON deliveries (taken_by) WHERE taken_by IS NOT NULL;
CREATE INDEX deliveries_by_job ON deliveries (job_id, due_at) WHERE job_id IS NOT NULL;

CREATE TABLE attempts (
    delivery_id text NOT NULL,
    number integer NOT NULL,
    url text NOT NULL,
    at double precision NOT NULL,
    duration double precision NOT NULL,
    status integer,
    error text,
    next_at double precision
);
CREATE INDEX attempts_by_delivery ON attempts (delivery_id);

-- Whose turn it is to get a delivery, and of whose hosts; see the module lines.
CREATE TABLE hosts (
    is_guarded boolean, owner text, host text, turn_at double precision,
    PRIMARY KEY (is_guarded, owner, host)
);
CREATE INDEX hosts_by_turn ON hosts (is_guarded, owner, turn_at, host);
CREATE TABLE owners (
    is_guarded boolean, owner text, turn_at double precision, PRIMARY KEY (is_guarded, owner)
);
CREATE INDEX owners_by_turn ON owners (is_guarded, turn_at, owner);

-- The servers that have claims, until nothing refers to them any more.
CREATE TABLE servers (
    id text PRIMARY KEY,
    name text NOT NULL,  -- of its connections
    lease_until timestamptz NOT NULL,
    in_touch_since timestamptz NOT NULL,  -- all the time
    heir text  -- the server that takes up what this one has left
);
-- The number of the last transaction of each lane of a server, and what the last inquiry has found;
-- see the module lane.
CREATE TABLE commits (
    server text, lane text, number bigint NOT NULL, found bigint, PRIMARY KEY (server, lane)
);

-- How many jobs there are, and how many bytes they take: the sums over all rows. Every statement
-- adds rows of its own, as a row that all servers change would let them wait for one another. Now
-- and then, rows are summed up. Deliveries are counted under a status of their own.
CREATE TABLE tallies (
    status text NOT NULL, handler text NOT NULL, jobs bigint NOT NULL, bytes bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE FUNCTION tally_jobs() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO tallies SELECT status, handler, count(*), sum(bytes) FROM new GROUP BY 1, 2;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO tallies SELECT status, handler, -count(*), -sum(bytes) FROM old GROUP BY 1, 2;
    ELSE
        INSERT INTO tallies
            SELECT status, handler, sum(n), sum(n * bytes)
            FROM (SELECT status, handler, bytes, 1 AS n FROM new
                  UNION ALL SELECT status, handler, bytes, -1 FROM old) AS changed
            GROUP BY 1, 2 HAVING sum(n) <> 0 OR sum(n * bytes) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_added AFTER INSERT ON jobs REFERENCING NEW TABLE AS new
    FOR EACH STATEMENT EXECUTE FUNCTION tally_jobs();
CREATE TRIGGER jobs_changed AFTER UPDATE ON jobs REFERENCING OLD TABLE AS old NEW TABLE AS new
    FOR EACH STATEMENT EXECUTE FUNCTION tally_jobs();
CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs REFERENCING OLD TABLE AS old
    FOR EACH STATEMENT EXECUTE FUNCTION tally_jobs();

CREATE FUNCTION tally_deliveries() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO tallies SELECT 'delivery', '', count(*), sum(length(body) + 1024) FROM new
            HAVING count(*) > 0;
    ELSE
        INSERT INTO tallies SELECT 'delivery', '', -count(*), -sum(length(body) + 1024) FROM old
            HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER deliveries_added AFTER INSERT ON deliveries REFERENCING NEW TABLE AS new
    FOR EACH STATEMENT EXECUTE FUNCTION tally_deliveries();
CREATE TRIGGER deliveries_deleted AFTER DELETE ON deliveries REFERENCING OLD TABLE AS old
    FOR EACH STATEMENT EXECUTE FUNCTION tally_deliveries();
"""

# Number n turns version n - 1 into version n; version 0 is an empty schema. A migration never
# changes once it is released.
MIGRATIONS = [_FIRST]
