#!/bin/sh
# What the postgres image's entrypoint does, as far as docker-compose.yml needs it.
set -eu
[ "${1:-}" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
  mkdir -p /var/lib/postgresql/data /run/postgresql
  chown postgres:postgres /var/lib/postgresql/data /run/postgresql
  chmod 700 /var/lib/postgresql/data
  exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
export POSTGRES_USER="${POSTGRES_USER:-postgres}" PGDATA=/var/lib/postgresql/data
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile="${POSTGRES_PASSWORD_FILE:?}" --auth-host=scram-sha-256 --auth-local=trust \
    --encoding=UTF8 --locale=C.UTF-8 > /dev/null
  printf 'host all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
  pg_ctl --pgdata="$PGDATA" -o "-c listen_addresses=''" --wait start > /dev/null
  for script in /docker-entrypoint-initdb.d/*.sh; do
    if [ -f "$script" ]; then sh "$script"; fi
  done
  pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop > /dev/null
fi
exec "$@" -c listen_addresses='*'
