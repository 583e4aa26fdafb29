#!/usr/bin/env bash
# Measure which lines and branches the tests reach, and print a table; fails below its bars.
#   coverage.sh decisions   sizing, risk and market limits: 100 %. Under a minute; part of .ci/run
#   coverage.sh brokers     brokers/ and conformance/: 80 %, each parse.py and codes.py 100 %. About ten minutes on two cores
#   coverage.sh             the whole test suite and its processes: those, execution/ 90 %, everything 80 %. About half an hour
set -uo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
part=${1:-everything}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export COVERAGE_FILE=$folder/data
decisions=(execution/submission/{sizing,risk,market_limits,flow_limits,signal_limits}.py)

case $part in
decisions)
  $python -m coverage run --source=execution.submission -m pytest -q \
    tests/execution/submission/test_{risk,sizing,sizing_modes,sizing_properties,market_limits,market_hours,flow_limits,signal_limits,worked_examples}.py
  tests=$?
  ;;
brokers)
  # One adapter is enough to cover the conformance suite; the one by TCP needs no terminal.
  $python -m coverage run --source=brokers,conformance -m pytest -q \
    tests/brokers tests/rate_limits tests/crypto tests/dwx tests/ibkr tests/mt5 tests/paper \
    tests/conformance/test_run.py \
    'tests/conformance/test_account.py::test_what_was_opened_is_closed[paper by TCP]' \
    'tests/conformance/test_adapters.py::test_every_check[paper by TCP]'
  tests=$?
  ;;
everything)
  # Workers and the other processes that tests start are measured, too. One that a test kills leaves no data.
  $python - "$folder/coveragerc" <<'RC'
import sys, tomllib
run = tomllib.load(open("pyproject.toml", "rb"))["tool"]["coverage"]["run"]
run |= {"parallel": True, "sigterm": True, "patch": ["subprocess"]}
lines = [f"{key} = " + "\n  ".join(map(str, value if isinstance(value, list) else [value])) for key, value in run.items()]
open(sys.argv[1], "w").write("[run]\n" + "\n".join(lines) + "\n")
RC
  $python -m coverage run --rcfile="$folder/coveragerc" -m pytest -q -n "${TEST_PROCESSES:-4}" ${TESTS:-}
  tests=$?
  $python -m coverage combine --quiet --rcfile="$folder/coveragerc"
  ;;
*)
  echo "There is no part '$part': decisions, brokers, or none for everything." >&2
  exit 2
  ;;
esac
[ -s "$COVERAGE_FILE" ] || exit 1

status=0
row='%-38s %7s %7s %8s %7s %6s  %s\n'
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
if [[ $part != brokers ]]; then
  for file in "${decisions[@]}"; do at_least 100 "$file"; done
fi
if [[ $part != decisions ]]; then
  for package in brokers/*/__init__.py; do at_least 80 "${package%__init__.py}*"; done
  at_least 80 'brokers/*'
  at_least 80 'conformance/*'
  for file in brokers/*/parse.py brokers/*/codes.py; do at_least 100 "$file"; done
fi
if [[ $part == everything ]]; then
  at_least 90 'execution/*'
  at_least 80 '*'
fi
if ((tests)); then
  echo 'Tests failed, so the table is incomplete.'
  status=1
fi
exit $status
