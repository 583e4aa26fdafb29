#!/usr/bin/env bash
# venv.sh [FOLDER [REQUIREMENTS...]]: install pinned packages into a virtual environment.
# Those of requirements.txt and requirements-dev.txt, and of the other files that are named; the folder is .venv
# unless another is named. Returns at once if nothing changed. ALONE=1: those of the named files only.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
venv=${1:-.venv}
files=(requirements.txt requirements-dev.txt "${@:2}")
if [[ -n ${ALONE:-} ]]; then files=("${@:2}"); fi
stamp=$venv/.installed

checksum=$(cat "${files[@]}" | cksum)
if [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$checksum" ]] && "$venv/bin/python" -c '' 2>/dev/null; then
  exit 0
fi

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }
can_create() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }
is_optimized() { "$1" config/python_build.py 2>/dev/null; }
first_that() { # the first Python found that passes these tests
  local found test
  for found in ${pythons[@]+"${pythons[@]}"}; do # bash before 4.4 takes an empty list for a fault
    for test in "$@"; do "$test" "$found" || continue 2; done
    printf '%s' "$found"
    return
  done
}

pythons=()
if [[ -n ${FILLCAST_PYTHON:-} ]]; then
  pythons=("$FILLCAST_PYTHON")
else
  while IFS= read -r found; do
    if [[ $found != *"/$venv/"* ]]; then pythons+=("$found"); fi # it may be removed below
  done < <(type -aP python3.12 python3.11 python3.13 python3)
fi
if [[ -z $(first_that fits) ]]; then
  if [[ -n ${FILLCAST_PYTHON:-} ]]; then say "FILLCAST_PYTHON=$FILLCAST_PYTHON is no Python 3.11, 3.12 or 3.13."; fi
  say "No Python 3.11, 3.12 or 3.13 found; install one, or set its path: FILLCAST_PYTHON=/path/to/python make venv"
  exit 1
fi
python=$(first_that fits can_create is_optimized)
python=${python:-$(first_that fits can_create)}
if [[ -z $python ]]; then
  python=$(first_that fits)
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  say "$python cannot create virtual environments (ensurepip is missing); on Debian and Ubuntu: apt install python$version-venv"
  exit 1
fi

say "Installing into $venv (about a minute the first time) …"
rm -f "$stamp"
if ! [[ -x $venv/bin/python ]] || ! "$venv/bin/python" -c 'import pip' 2>/dev/null || ! fits "$venv/bin/python"; then
  if ! is_optimized "$python"; then
    say "$python was built without optimizations, so orders take a seventh more of Python's time. Those of"
    say "distributions have them. To use another one: rm -r $venv; FILLCAST_PYTHON=/path/to/python make venv"
  fi
  rm -rf "$venv"
  "$python" -m venv "$venv"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
    --require-hashes "${files[@]/#/-r}" >"$log" 2>&1; then
  tail -n 15 "$log" >&2
  if grep -qE 'No space left' "$log"; then
    say "The disk is full: about 1.3 GB are needed."
  elif grep -qE 'Connection|Max retries|Temporary failure|Name or service|timed out|No matching distribution' "$log"; then
    say "The packages could not be downloaded. Check the network and pip's package index (pip config list)."
  else
    say "The packages could not be installed; the output of pip is above."
  fi
  exit 1
fi
if [[ $venv == .venv && -z ${PYTHONDONTWRITEBYTECODE:-} ]]; then
  # The processes of the first start would otherwise compile the same files side by side.
  packages=(*/__init__.py)
  "$venv/bin/python" -m compileall -q -x '^tests/' "${packages[@]%/*}" || true
fi
printf '%s' "$checksum" >"$stamp"
