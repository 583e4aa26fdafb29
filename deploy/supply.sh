#!/usr/bin/env bash
# supply.sh sbom: list every package of an installation in var/sbom.json, in CycloneDX's format.
# supply.sh audit: ask an index which of them have known faults. That needs an index with such an
# API, so its end code is 3 if none answered, and 1 only if faults were found.
set -uo pipefail
cd "$(dirname "$0")/.."
tools=var/supply-venv/bin
locks=(requirements.txt requirements-crypto.txt)

case ${1:-} in
sbom)
  # Reproducible: neither a time nor a random number, so that two of one commit are equal.
  PYTHONWARNINGS=ignore "$tools/cyclonedx-py" requirements requirements.txt --pyproject pyproject.toml --mc-type application \
    --of JSON --output-reproducible --output-file var/sbom.json && echo "var/sbom.json is written"
  ;;
audit)
  if [[ ! -x $tools/pip-audit ]]; then
    echo "pip-audit is not installed: make sbom"
    exit 3
  fi
  output=$(timeout 120 "$tools/pip-audit" --disable-pip --require-hashes --progress-spinner off \
    --timeout 15 "${locks[@]/#/-r}" 2>&1)
  status=$?
  unknown=$(grep -c 'could not be audited' <<<"$output")
  if grep -qE '^Found [0-9]+ known vulnerabilit' <<<"$output"; then
    grep -v 'could not be audited' <<<"$output" | tail -n 40
    exit 1
  fi
  # It ends with 0, too, if the index knows no package at all.
  if ((status || unknown)); then
    echo "not audited: $unknown packages; the index of pip has no such API, or does not answer"
    exit 3
  fi
  echo "no known faults"
  ;;
*)
  echo "supply.sh sbom, or supply.sh audit" >&2
  exit 2
  ;;
esac
