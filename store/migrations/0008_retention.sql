-- Contents that retention removed, and what detection keeps of an entity whose older contents are gone.

-- What was removed, by whom and when: so many rows of `events` are missing on purpose.
create table redline.removed_events (
    removal_id bigint generated always as identity primary key,
    events_table text not null,                 -- the month's partition; events_default where it was missing
    before timestamptz not null,                -- everything in it that was recorded earlier
    rows bigint not null check (rows >= 0),
    bytes bigint not null,
    removed_by text not null default current_user,
    removed_at timestamptz not null default now()
);

-- Findings of versions up to the horizon are final: their contents are gone, or may go at any time. Whatever moves it
-- raises the revision.
alter table redline.entities add column horizon bigint;

-- The state of an entity at its horizon, from which later versions are derived. There is no row as long as the horizon is
-- the latest version: then `entities` has it.
create table redline.horizons (
    entity bigint primary key,
    version bigint not null,
    content_hash bytea not null,
    observed_at timestamptz,
    baseline text,
    baseline_observed_at timestamptz,
    previous text,
    deleted boolean not null,
    reach timestamptz
);

-- Of several contents at one version up to the horizon, the one that stands. Null where the contents tell.
alter table redline.versions add column standing boolean;

-- The first version above the horizon replaces the state in `entities`.
create function redline.keep_horizon() returns trigger language plpgsql set search_path = redline, pg_temp as $$
begin
    insert into horizons (entity, version, content_hash, observed_at, baseline, baseline_observed_at, previous, deleted,
        reach)
    values (old.entity, old.version, old.content_hash, old.observed_at, old.baseline, old.baseline_observed_at,
        old.previous, old.deleted, old.reach);
    return new;
end
$$;
create trigger keep_horizon before update on redline.entities
    for each row when (old.horizon = old.version and new.version > old.version)
    execute function redline.keep_horizon();
