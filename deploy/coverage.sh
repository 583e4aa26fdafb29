#!/usr/bin/env bash
# What the brokers' tests reach of brokers/, lines and branches; fails below 80 % of each package,
# and below all of each parse.py and codes.py. Some 15 minutes on two cores, so it is no part of
# .ci/run: there it would be a second run of the same tests.
set -uo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
export COVERAGE_FILE=var/coverage/brokers
mkdir -p var/coverage
# Of the conformance suite the stages that need no terminal and no exchange are enough to reach it.
$python -m coverage run --source=brokers -m pytest -q \
  tests/brokers tests/budgets tests/crypto tests/dwx tests/ibkr tests/mt5 tests/paper tests/prices || exit 1
$python -m coverage run --append --source=brokers -m pytest -q tests/conformance \
  -k 'paper or example or test_run or test_teeth' || exit 1

status=0
at_least() {
  local percent=$1 files=$2 told
  if told=$($python -m coverage report --skip-covered --include "$files" --fail-under "$percent"); then
    printf 'ok      %-24s %s\n' "$files" "$(awk '/^TOTAL/ {print $NF}' <<<"$told")"
  else
    printf 'FAILED  %-24s below %s %%\n%s\n' "$files" "$percent" "$told"
    status=1
  fi
}
for package in brokers/*/__init__.py; do
  at_least 80 "${package%__init__.py}*"
done
at_least 80 'brokers/*'
at_least 100 '*/parse.py,*/codes.py'
exit $status
