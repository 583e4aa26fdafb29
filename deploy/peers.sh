#!/usr/bin/env bash
# Install the queues that `make bench ONLY=peers` measures beside Fillcast's into var/peers. Returns at once if nothing changed.
# If they cannot be installed they are skipped: var/peers.failed states why.
set -uo pipefail
cd "$(dirname "$0")/.."

folder=var/peers checksum=$(cksum <requirements-peers.txt)
[[ -x $folder/bin/python && -f $folder/.installed && $(<"$folder/.installed") == "$checksum" ]] && exit
printf 'Installing requirements-peers.txt into %s …\n' "$folder" >&2
rm -rf "$folder" "$folder.failed"
.venv/bin/python -m venv "$folder"
if ! "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
    --require-hashes -r requirements-peers.txt >"$folder.log" 2>&1; then
  { grep -m 1 '^ERROR' "$folder.log" || tail -n 1 "$folder.log"; } >"$folder.failed"
  cat "$folder.failed" >&2
  exit
fi
printf '%s' "$checksum" >"$folder/.installed"
# The queues' job is the product's own code: its packages are found behind theirs, which have the same versions.
packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for own in "$folder"/lib/python*/site-packages; do printf '%s\n' "$packages" >"$own/product.pth"; done
