-- The record: what was read, what came of it, and where reading goes on. ARCHITECTURE.md tells who writes what.

-- Where each partition's reading stands. Kafka's committed offsets are advice; this decides.
create table redline.positions (
    position_id int generated always as identity primary key,
    topic text not null,
    incarnation text not null,                  -- topic id, with ~n after a restart on the same topic
    topic_id text not null,
    partition int not null,
    next_offset bigint not null check (next_offset >= 0),
    watermark timestamptz,                      -- greatest min(event time, Kafka timestamp) accepted
    superseded_at timestamptz,                  -- set when an operator starts anew on a newer incarnation
    owner uuid,                                 -- the worker that records this partition
    owner_backend_pid int,
    owner_backend_start timestamptz,
    updated_at timestamptz not null default now(),
    unique (topic, incarnation, partition)
) with (fillfactor = 50);

-- Partitions that wait for an operator.
create table redline.stopped_partitions (
    topic text not null,
    partition int not null,
    incarnation text not null,
    reason text not null,
    detail text not null,
    next_offset bigint,
    log_start bigint not null,
    log_end bigint not null,
    stopped_at timestamptz not null default now(),
    primary key (topic, partition)
);

-- Known losses that an operator accepted.
create table redline.gaps (
    topic text not null,
    incarnation text not null,
    partition int not null,
    first_offset bigint not null,
    next_offset bigint,                         -- null where nobody can tell how much was lost
    reason text not null,
    accepted_by text not null,
    accepted_at timestamptz not null default now(),
    primary key (topic, incarnation, partition, first_offset)
);

-- What detection needs of each entity's past. `revision` is compared and set by every writer.
create table redline.entities (
    entity bigint generated always as identity primary key,
    entity_type text not null,
    source text not null,
    entity_id text not null,
    revision bigint not null,
    version bigint not null,                    -- the latest version
    content_hash bytea not null,                -- of the content that stands for it
    observed_at timestamptz,                    -- least of its copies; rows only
    baseline text,                              -- content of the latest version that is no delete; rows only
    baseline_observed_at timestamptz,
    previous text,                              -- value before the last change, by column
    unique (entity_type, source, entity_id)
) with (fillfactor = 70);

-- Which contents were accepted: what identity needs, beyond the retention of events.
create table redline.versions (
    entity bigint not null,
    version bigint not null,
    content_hash bytea not null,
    observed_at timestamptz,                    -- least of its copies; rows only
    position_id int not null,
    "offset" bigint not null,
    recorded_at timestamptz not null,
    primary key (entity, version, content_hash)
);

-- Accepted events, append-only. sha256(convert_to(content, 'UTF8')) is the content hash.
create table redline.events (
    position_id int not null,
    "offset" bigint not null,
    recorded_at timestamptz not null,
    entity bigint not null,
    version bigint not null,
    observed_at timestamptz,                    -- as sent
    content text not null,                      -- canonical form
    primary key (position_id, "offset", recorded_at)
) partition by range (recorded_at);

-- Rows land here only when the month's own partition is missing.
create table redline.events_default partition of redline.events default;

-- Makes the partitions of this month and the two after it.
create function redline.ensure_event_partitions() returns void language plpgsql security definer
set search_path = redline, pg_temp as $$
declare
    month timestamptz;
    name text;
begin
    for ahead in 0..2 loop
        month := date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'
            + make_interval(months => ahead);
        name := 'events_' || to_char(month at time zone 'UTC', 'YYYY_MM');
        if to_regclass('redline.' || name) is null then
            execute format(
                'create table redline.%I partition of redline.events for values from (%L) to (%L)',
                name, month, (month at time zone 'UTC' + interval '1 month') at time zone 'UTC');
        end if;
    end loop;
end
$$;

create table redline.changes (
    entity bigint not null,
    entity_type text not null,
    source text not null,
    entity_id text not null,
    version bigint not null,
    column_name text not null,
    before text,
    after text,
    impact numeric,
    currency text,
    risk text not null,
    editor text,
    modified_at timestamptz not null,
    attribution text not null,
    timing text not null,
    authorised boolean not null default false,
    primary key (entity, version, column_name)
);

-- The latest revision of each flag.
create table redline.flags (
    flag_id text primary key,
    revision bigint not null,
    status text not null,
    kind text not null,
    risk text not null,
    entity_type text not null,
    source text not null,
    entity_id text not null,
    version bigint not null,
    "column" text,
    before text,
    after text,
    impact numeric,
    currency text,
    score bigint,
    editor text,
    modified_at timestamptz,
    period text,
    legal_entity text,
    link text,
    reason text not null,
    details jsonb not null,
    rules_hash text not null,
    position_topic text not null,
    position_incarnation text not null,
    position_partition int not null,
    position_offset bigint not null,
    entity bigint,
    first_detected_at timestamptz not null,
    revised_at timestamptz not null
);
create index flags_entity on redline.flags (entity);

-- Every revision of every flag, as it was published.
create table redline.flag_revisions (
    flag_id text not null,
    revision bigint not null,
    status text not null,
    flag jsonb not null,
    recorded_at timestamptz not null,
    primary key (flag_id, revision)
);

create table redline.scores (
    order_id text primary key,
    score bigint not null,
    rules_hash text not null
);

create table redline.facts (
    kind text not null,
    id text not null,
    version bigint not null,
    content_hash bytea not null,
    effective_at timestamptz not null,
    recorded_by text not null,
    content text not null,                      -- canonical form
    text text,                                  -- rules: the file
    recorded_at timestamptz not null default now(),
    primary key (kind, id, version, content_hash)
);

-- Records that could not be accepted, with their bytes.
create table redline.quarantine (
    quarantine_id bigint generated always as identity primary key,
    topic text not null,
    incarnation text not null,
    partition int not null,
    "offset" bigint not null,
    reason text not null,
    detail text not null,
    key bytea,
    value bytea,
    headers jsonb not null,                     -- [{"name": …, "value": base64 or null}, …]
    kafka_timestamp timestamptz,
    status text not null default 'quarantined' check (status in ('quarantined', 'retried', 'discarded')),
    quarantined_at timestamptz not null default now(),
    status_changed_at timestamptz,
    unique (topic, incarnation, partition, "offset")
);

-- What the relay publishes, and deletes once it is published.
create table redline.outbox (
    outbox_id bigint generated always as identity primary key,
    topic text not null,
    key bytea,
    value bytea,
    headers jsonb not null,
    recorded_at timestamptz not null default now()
);

-- read = accepted + duplicate + quarantined, for every contiguous range of offsets.
create table redline.control_totals (
    position_id int not null references redline.positions,
    topic text not null,
    incarnation text not null,
    partition int not null,
    first_offset bigint not null,
    next_offset bigint not null,
    read bigint not null,
    accepted bigint not null,
    duplicate bigint not null,
    quarantined bigint not null,
    records bytea not null,                     -- of each record: offset (8 bytes, big-endian), outcome (1), hash (32)
    recorded_at timestamptz not null,
    primary key (position_id, first_offset),
    check (read = accepted + duplicate + quarantined),
    check (read <= next_offset - first_offset),
    check (octet_length(records) = read * 41)
);
-- Hashes do not compress.
alter table redline.control_totals alter column records set storage external;

-- Exact sums of each range, per period, currency and outcome.
create table redline.control_sums (
    position_id int not null,
    topic text not null,
    partition int not null,
    first_offset bigint not null,
    next_offset bigint not null,
    period text,
    currency text,
    outcome text not null,
    records bigint not null,
    amount numeric not null,
    unique nulls not distinct (position_id, first_offset, period, currency, outcome)
);

create table redline.api_keys (
    key_id text primary key,
    name text not null unique,
    secret_hash bytea not null,
    scopes text[] not null,
    source text,
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);
