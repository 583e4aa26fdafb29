#!/usr/bin/env bash
# Pin requirements*.in by hash, for every supported system and Python version.
set -euo pipefail
cd "$(dirname "$0")/.."

for name in requirements requirements-crypto requirements-buses requirements-observe requirements-dev requirements-clickhouse-tests \
  requirements-mutation requirements-plots requirements-peers requirements-supply; do
  .venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
    --only-binary :all: --no-emit-index-url --no-emit-find-links "$@" -o "$name.txt" "$name.in"
done
