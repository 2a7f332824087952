-- What was decided about quarantined records, by whom; and how many a partition has had in a row.

alter table redline.quarantine
    add column status_changed_by text,
    add column status_detail text,              -- where it was published again to, or why it was discarded
    add constraint discarded_with_reason check
        (status <> 'discarded' or (status_changed_by is not null and status_detail is not null));

-- Quarantined records since the last good one. Too many of them pause the partition.
alter table redline.positions add column quarantined_in_a_row bigint not null default 0;
