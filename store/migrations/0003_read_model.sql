-- The orders in which the read API shows flags and changes. Each ends in ids, so that every place in it is one of its own,
-- and is read backwards: the newest change first. A flag without a time of its change comes after all that have one.

create index flags_newest on redline.flags (coalesce(modified_at, '-infinity'), flag_id);
create index flags_newest_of_source on redline.flags (source, coalesce(modified_at, '-infinity'), flag_id);
create index flags_newest_of_entity on redline.flags (entity_id, coalesce(modified_at, '-infinity'), flag_id);
create index flags_newest_of_kind on redline.flags (kind, coalesce(modified_at, '-infinity'), flag_id);
create index flags_newest_of_risk on redline.flags (risk, coalesce(modified_at, '-infinity'), flag_id);
-- Most flags stand, so that the order itself leads to them; those that were withdrawn are few.
create index flags_newest_withdrawn on redline.flags (coalesce(modified_at, '-infinity'), flag_id)
    where status = 'withdrawn';

create index changes_newest on redline.changes (modified_at, entity_id, version, column_name, source, entity_type);
create index changes_newest_of_source on redline.changes
    (source, modified_at, entity_id, version, column_name, entity_type);
create index changes_newest_of_entity on redline.changes
    (entity_id, modified_at, version, column_name, source, entity_type);
create index changes_newest_authorised on redline.changes
    (modified_at, entity_id, version, column_name, source, entity_type) where authorised;

-- The history of an entity asks for the flags of some of its versions.
drop index redline.flags_entity;
create index flags_entity on redline.flags (entity, version);

-- What the new expressions hold, so that these indexes are chosen from the first request on.
analyze redline.flags;
analyze redline.changes;
