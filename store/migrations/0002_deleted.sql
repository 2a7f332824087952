-- Whether the latest version of a row is a delete: a second delete makes nothing.
alter table redline.entities add column deleted boolean not null default false;

update redline.entities e set deleted = true
from redline.versions v
join redline.events o on o.position_id = v.position_id and o."offset" = v."offset" and o.recorded_at = v.recorded_at
where e.entity_type = 'row' and v.entity = e.entity and v.version = e.version and v.content_hash = e.content_hash
    and o.content::jsonb ->> 'op' = 'delete';
