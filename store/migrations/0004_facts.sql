-- Facts that detection judges under, and what has to be judged again because of them.

-- Raised by every transaction that records facts, under the exclusive advisory lock; whoever records findings holds the
-- lock shared and checks that the generation is the one that it judged under.
create table redline.knowledge (
    only_one boolean primary key default true check (only_one),
    generation bigint not null
);
insert into redline.knowledge (generation) values (1);

alter table redline.facts
    add column generation bigint not null default 1,
    -- of each id the highest version, of contents at one version the greatest hash
    add column standing boolean not null default true,
    add column source text,                     -- approval, period
    add column row_id text;                     -- approval
create index facts_generation on redline.facts (generation);
create index facts_approvals on redline.facts (source, row_id) where kind = 'approval' and standing;

-- Entities that have to be derived again.
create table redline.dirty_entities (
    entity bigint primary key,
    marked_at timestamptz not null default now()
);

-- State that crosses entities, by what they have in common. Locked sorted, before entities.
create table redline.state_keys (
    state_key text primary key,
    dirty_since timestamptz                     -- findings of this key have to be derived again
) with (fillfactor = 70);
create index state_keys_dirty on redline.state_keys (dirty_since) where dirty_since is not null;

-- What each entity contributes to them.
create table redline.contributions (
    entity bigint not null,
    version bigint not null,
    role text not null,
    state_key text not null,
    content text not null,
    primary key (entity, version, role)
);
create index contributions_state_key on redline.contributions (state_key);

-- The greatest instant at which anything of the entity was judged; facts that count only later do not touch it.
alter table redline.entities add column reach timestamptz;

-- The approval by which a change was authorised.
alter table redline.changes add column approval text;

-- Flags that follow from a state key are revised with it, and not with their entity.
alter table redline.flags add column state_key text;
create index flags_state_key on redline.flags (state_key) where state_key is not null;
