#!/usr/bin/env bash
# Install what `make bench ONLY=peers` measures beside Fillcast, each set of packages into an environment of its own
# below var/peers. Returns at once if nothing changed. What cannot be installed is skipped: FOLDER.failed states why.
set -uo pipefail
cd "$(dirname "$0")/.."

install() {
  local name=$1 requirements=$2 folder=var/peers/$1 checksum
  checksum=$(cksum <"$requirements")
  [[ -x $folder/bin/python && -f $folder/.installed && $(<"$folder/.installed") == "$checksum" ]] && return
  printf 'Installing %s into %s …\n' "$requirements" "$folder" >&2
  rm -rf "$folder" "$folder.failed"
  .venv/bin/python -m venv "$folder"
  # One package of freqtrade's, sdnotify, exists as source only; it is one file of Python.
  if "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
      --no-binary sdnotify --require-hashes -r "$requirements" >"$folder.log" 2>&1; then
    printf '%s' "$checksum" >"$folder/.installed"
  else
    { grep -m 1 '^ERROR' "$folder.log" || tail -n 1 "$folder.log"; } >"$folder.failed"
    cat "$folder.failed" >&2
  fi
}

mkdir -p var/peers
install queues requirements-peers.txt
install freqtrade requirements-peers-freqtrade.txt
install nautilus requirements-peers-nautilus.txt
# The queues' job is the product's own code: its packages are found behind theirs, which have the same versions.
if [[ -f var/peers/queues/.installed ]]; then
  packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  for own in var/peers/queues/lib/python*/site-packages; do printf '%s\n' "$packages" >"$own/product.pth"; done
fi
