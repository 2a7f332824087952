-- The control totals of a ledger lie side by side: each range but the first begins where another one ends, and no two
-- begin or end at the same offset. So neither a gap nor an overlap can be written.

alter table redline.control_totals
    add column follows bigint,                  -- first_offset; null of the first range of a ledger
    add constraint control_totals_not_empty check (next_offset > first_offset),
    add constraint control_totals_follows_itself check (follows = first_offset),
    add constraint control_totals_end unique (position_id, next_offset);

-- A loss that an operator accepted is a range of its own, in which nothing was read.
insert into redline.control_totals (position_id, topic, incarnation, partition, first_offset, next_offset, read,
    accepted, duplicate, quarantined, records, recorded_at)
select p.position_id, g.topic, g.incarnation, g.partition, g.first_offset, g.next_offset, 0, 0, 0, 0, '', g.accepted_at
from redline.gaps g join redline.positions p using (topic, incarnation, partition)
where g.next_offset > g.first_offset;

update redline.control_totals t set follows = first_offset
where exists (select from redline.control_totals before
    where before.position_id = t.position_id and before.next_offset = t.first_offset);

alter table redline.control_totals add constraint control_totals_follow
    foreign key (position_id, follows) references redline.control_totals (position_id, next_offset);
create unique index control_totals_first on redline.control_totals (position_id) where follows is null;

-- Writers do not have to know it.
create function redline.follow_totals() returns trigger language plpgsql set search_path = redline, pg_temp as $$
begin
    if exists (select from redline.control_totals where position_id = new.position_id) then
        new.follows := new.first_offset;
    end if;
    return new;
end
$$;
create trigger follow_totals before insert on redline.control_totals
    for each row execute function redline.follow_totals();
