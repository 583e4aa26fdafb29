#!/usr/bin/env bash
# Remove what was installed and made here. A running stack is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -e var/lock ]] && command -v flock >/dev/null && ! flock --nonblock var/lock true; then
  echo "Fillcast is running from here; end it first." >&2
  exit 1
fi
if [[ -f var/postgres.elsewhere ]]; then  # root's data lie where the database's user can reach them
  place=$(<var/postgres.elsewhere)
  [[ $place == */fillcast-* && -d $place && ! -L $place ]] && rm -rf -- "$place"
fi
rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
