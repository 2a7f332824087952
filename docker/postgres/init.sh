#!/bin/bash
# Postgres' image runs this once, when its volume is empty: the databases of Redline and of the schema registry. The other
# file here has another ending than .sql, or the image would run it too, and without its variables.
set -euo pipefail
superuser() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres "$@"; }

superuser --set database=redline --set owner=redline_owner --set "owner_password=$REDLINE_OWNER_PASSWORD" \
    --set user=redline --set "user_password=$REDLINE_DATABASE_PASSWORD" --file "$(dirname "${BASH_SOURCE[0]}")/roles.psql"
superuser --set "password=$REGISTRY_DATABASE_PASSWORD" <<'SQL'
create role registry login password :'password';
create database registry owner registry;
revoke all on database registry from public;
SQL
