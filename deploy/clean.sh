#!/usr/bin/env bash
# Remove what was installed and generated here. Refuses if a stack is running.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -e var/lock ]] && command -v flock >/dev/null && ! flock --nonblock var/lock true; then
  echo "Fillcast is running from here; stop it first." >&2
  exit 1
fi
if [[ -f var/postgres.elsewhere ]]; then  # root's data are where the database's user can reach them
  data=$(<var/postgres.elsewhere)
  [[ $data == */fillcast-* && -d $data && ! -L $data ]] && rm -rf -- "$data"
fi
rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
