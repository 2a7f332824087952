-- What Redline needs of Postgres, for a superuser to run once, with psql:
--
--   psql -v ON_ERROR_STOP=1 -v database=redline -v owner=redline_owner -v owner_password=… \
--        -v user=redline -v user_password=… -f docker/postgres/roles.sql
--
-- The owner makes and changes tables: `redline migrate` connects as it. Everything else connects as the user, which reads
-- and writes rows and can neither change tables nor empty them at once. All workers must connect as one and the same
-- user: whoever takes over a partition ends the connection of a predecessor that hangs, which Postgres allows among the
-- same user's.
create role :"owner" login password :'owner_password';
create role :"user" login password :'user_password';
create database :"database" owner :"owner";
revoke all on database :"database" from public;
grant connect on database :"database" to :"user";

\connect :"database"
revoke all on schema public from public;
-- For what migrations will make: the schema `redline`, its tables, and their numbers.
alter default privileges for role :"owner" grant usage on schemas to :"user";
alter default privileges for role :"owner" grant select, insert, update, delete on tables to :"user";
alter default privileges for role :"owner" grant usage on sequences to :"user";
