#!/bin/sh
# Run once by the postgres image when its data are new: three logins, each for what it may do.
# The owner makes the tables; fillcast_trade and fillcast_web get their rights from the migrations.
set -eu

psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set owner="$FILLCAST_OWNER_PASSWORD" --set trade="$FILLCAST_TRADE_PASSWORD" \
  --set web="$FILLCAST_WEB_PASSWORD" <<'SQL'
CREATE ROLE fillcast_trade NOLOGIN;
CREATE ROLE fillcast_web NOLOGIN;
CREATE ROLE fillcast_owner LOGIN PASSWORD :'owner';
CREATE ROLE trade LOGIN PASSWORD :'trade' IN ROLE fillcast_trade;
CREATE ROLE web LOGIN PASSWORD :'web' IN ROLE fillcast_web;
GRANT fillcast_trade, fillcast_web TO fillcast_owner WITH ADMIN OPTION;
CREATE DATABASE fillcast OWNER fillcast_owner;
SQL
