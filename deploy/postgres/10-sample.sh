#!/usr/bin/env bash
# Run once by the postgres image, when its data folder is new: the sample data, and the roles of node and HAProxy.
set -euo pipefail

sample=${SAMPLE:-/sample}
sql() { psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"; }

sql --file "$sample/schema.sql"
for table in airlines airports planes flights weather; do
    # The header is also the column list: flights.id is not in the file.
    header=$(gunzip --stdout "$sample/$table.csv.gz" | sed -n 1p)
    gunzip --stdout "$sample/$table.csv.gz" | sql --command "copy $table ($header) from stdin (format csv, header true)"
done
sql --file "$sample/constraints.sql"
sql --file "$sample/grants.sql"

# The node logs in as transom and becomes web_anon for a request: by itself it may do nothing.
sql --set password="$NODE_PASSWORD" <<'SQL'
create role transom login noinherit password :'password';
grant web_anon to transom;
create role haproxy login;
SQL

# HAProxy asks every server whether it is the primary. It cannot answer a password challenge, and the role has no rights.
sed -i '1i host postgres haproxy samenet trust' "$PGDATA/pg_hba.conf"
