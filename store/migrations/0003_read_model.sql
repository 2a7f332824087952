-- The orders in which the read API shows flags and changes, each read backwards: the newest change first.

-- A flag without a time of its change comes after all that have one. Those are many of one place in the order, so that the
-- id belongs to the index.
create index flags_newest on redline.flags (coalesce(modified_at, '-infinity'), flag_id);
create index flags_newest_of_source on redline.flags (source, coalesce(modified_at, '-infinity'), flag_id);
create index flags_newest_of_kind on redline.flags (kind, coalesce(modified_at, '-infinity'), flag_id);
create index flags_newest_of_risk on redline.flags (risk, coalesce(modified_at, '-infinity'), flag_id);
-- Most flags stand, so that the order itself leads to them; those that were withdrawn are few.
create index flags_newest_withdrawn on redline.flags (coalesce(modified_at, '-infinity'), flag_id)
    where status = 'withdrawn';
create index flags_entity_id on redline.flags (entity_id);

-- Recording changes is to stay cheap: those of one instant are put in order when they are read.
create index changes_newest on redline.changes (modified_at);
create index changes_newest_of_source on redline.changes (source, modified_at);
create index changes_newest_authorised on redline.changes (modified_at) where authorised;
-- Changes of an id are found by the entities that have it.
create index entities_entity_id on redline.entities (entity_id);

-- The history of an entity asks for the flags of some of its versions.
drop index redline.flags_entity;
create index flags_entity on redline.flags (entity, version);

-- What the new expressions hold, so that these indexes are chosen from the first request on.
analyze redline.flags;
analyze redline.changes;
analyze redline.entities;
