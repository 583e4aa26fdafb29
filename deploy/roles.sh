#!/bin/sh
# The postgres image runs this once, with new data: it creates a login for each of the three roles.
# The owner creates the tables; the migrations give fillcast_trade and fillcast_web their rights.
# Their passwords are files of the folder FILLCAST_SECRETS_FOLDER, else variables. psql reads them
# from its environment: what is on a command line is shown by `ps`.
set -eu

if [ -n "${FILLCAST_SECRETS_FOLDER:-}" ]; then
  FILLCAST_OWNER_PASSWORD=$(cat "$FILLCAST_SECRETS_FOLDER/FILLCAST_OWNER_PASSWORD")
  FILLCAST_TRADE_PASSWORD=$(cat "$FILLCAST_SECRETS_FOLDER/FILLCAST_TRADE_PASSWORD")
  FILLCAST_WEB_PASSWORD=$(cat "$FILLCAST_SECRETS_FOLDER/FILLCAST_WEB_PASSWORD")
fi
: "${FILLCAST_OWNER_PASSWORD:?}" "${FILLCAST_TRADE_PASSWORD:?}" "${FILLCAST_WEB_PASSWORD:?}"
export FILLCAST_OWNER_PASSWORD FILLCAST_TRADE_PASSWORD FILLCAST_WEB_PASSWORD

psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv owner FILLCAST_OWNER_PASSWORD
\getenv trade FILLCAST_TRADE_PASSWORD
\getenv web FILLCAST_WEB_PASSWORD
CREATE ROLE fillcast_trade NOLOGIN;
CREATE ROLE fillcast_web NOLOGIN;
CREATE ROLE fillcast_owner LOGIN PASSWORD :'owner';
CREATE ROLE trade LOGIN PASSWORD :'trade' IN ROLE fillcast_trade;
CREATE ROLE web LOGIN PASSWORD :'web' IN ROLE fillcast_web;
GRANT fillcast_trade, fillcast_web TO fillcast_owner WITH ADMIN OPTION;
CREATE DATABASE fillcast OWNER fillcast_owner;
SQL

# Large objects belong to the superuser: neither role may fill the disk by them.
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname fillcast <<'SQL'
REVOKE TEMPORARY ON DATABASE fillcast FROM PUBLIC;
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f.oid::regprocedure) FROM pg_proc f
WHERE f.pronamespace = 'pg_catalog'::regnamespace AND f.proname IN
  ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite', 'lo_truncate', 'lo_truncate64')
\gexec
SQL
