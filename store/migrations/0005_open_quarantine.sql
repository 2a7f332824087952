-- How many quarantined records are open is asked every few seconds.
create index quarantine_open on redline.quarantine (reason) where status = 'quarantined';
