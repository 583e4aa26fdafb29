#!/usr/bin/env bash
# Measure what the brokers' tests cover of brokers/ and conformance/ (lines and branches) and print a table.
# Fails below 80 % of a package and below 100 % of each parse.py and codes.py. It takes about ten minutes on
# two cores and repeats tests that .ci/run has run, so it is not part of that.
set -uo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export COVERAGE_FILE=$folder/brokers
# One adapter is enough to cover the conformance suite; the one by TCP needs no terminal.
$python -m coverage run --source=brokers,conformance -m pytest -q \
  tests/brokers tests/rate_limits tests/crypto tests/dwx tests/ibkr tests/mt5 tests/paper \
  tests/conformance/test_run.py \
  'tests/conformance/test_account.py::test_what_was_opened_is_closed[paper by TCP]' \
  'tests/conformance/test_adapters.py::test_every_check[paper by TCP]'
tests=$?
[ -s "$COVERAGE_FILE" ] || exit 1

status=0
row='%-24s %7s %7s %7s %7s %6s  %s\n'
at_least() { # bar, files
  local bar=$1 files=$2 found
  # statements, missing, branches, partly, cover
  read -r -a found < <($python -m coverage report --include "$files" | sed -n 's/^TOTAL *//p')
  if ((${#found[@]} == 5)) &&
    $python -m coverage report --include "$files" --fail-under "$bar" >/dev/null; then
    printf "$row" "$files" "${found[@]}" "$bar % ok"
  else
    ((${#found[@]} == 5)) || found=('?' '?' '?' '?' '?')
    printf "$row" "$files" "${found[@]}" "$bar % MISSED"
    $python -m coverage report --include "$files" --skip-covered --show-missing
    status=1
  fi
}
printf "\n$row" '' lines missed branches partly cover bar
for package in brokers/*/__init__.py; do
  at_least 80 "${package%__init__.py}*"
done
at_least 80 'brokers/*'
at_least 80 'conformance/*'
for file in brokers/*/parse.py brokers/*/codes.py; do
  at_least 100 "$file"
done
if ((tests)); then
  echo 'Tests failed, so the table is incomplete.'
  status=1
fi
exit $status
