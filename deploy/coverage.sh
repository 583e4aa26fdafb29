#!/usr/bin/env bash
# Run tests and measure which lines and branches they reach; print a table; fail below the bars.
#   coverage.sh             what `make test-all` runs: everything 80 %, execution/ 90 %, and the two below. Forty minutes
#   coverage.sh brokers     brokers/ and conformance/: 80 %, each parse.py and codes.py 100 %. A few minutes
#   coverage.sh decisions   sizing, risk and market limits: 100 %. Half a minute; `.ci/run` does it
# What runs in processes that tests start is not measured: the true figures are higher.
set -uo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
part=${1:-everything}
data=$(mktemp)
trap 'rm -f "$data"' EXIT

case $part in
everything)
  # shellcheck disable=SC2206  # the tests' names, separated by spaces
  tests=(-n "${TEST_PROCESSES:-4}" ${TESTS:-})
  ;;
brokers)
  # One adapter is enough to cover the conformance suite; the one by TCP needs no terminal.
  tests=(tests/brokers tests/rate_limits tests/crypto tests/dwx tests/ibkr tests/mt5 tests/paper
    tests/conformance/test_run.py
    'tests/conformance/test_account.py::test_checks_close_what_they_opened[paper by TCP]'
    'tests/conformance/test_adapters.py::test_every_check[paper by TCP]')
  ;;
decisions)
  tests=(tests/execution/submission/test_{risk,sizing,sizing_modes,sizing_properties,market_limits,market_hours,flow_limits,signal_limits,worked_examples}.py)
  ;;
*)
  echo "There is no part '$part': decisions, brokers, or none for everything." >&2
  exit 2
  ;;
esac

export TEST_BASE=none # an adapter that has not changed counts too
$python -m slipcover --out "$data" -m pytest -m '(not faults or quick) and not browser' "${tests[@]}"
status=$?
# Without a result there is nothing to judge: the run was cut short.
[[ -s $data ]] || exit $((status ? status : 1))
$python deploy/coverage_bars.py "$part" "$data" || status=1
exit $status
