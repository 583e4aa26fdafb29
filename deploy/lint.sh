#!/usr/bin/env bash
# Run every check except the tests. All run, even after one has failed.
set -uo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
failed=()

check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    printf 'ok      %s\n' "$name"
  else
    printf 'FAILED  %s\n%s\n' "$name" "$output"
    failed+=("$name")
  fi
}

# The same for what depends on a server that may not answer: it blocks nothing.
advise() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    printf 'ok      %s\n' "$name"
  else
    printf 'note    %s (blocks nothing)\n%s\n' "$name" "$output"
  fi
}

# Placeholder settings as in production; `check --deploy` connects to nothing.
as_in_production() {
  env FILLCAST_ENV=production FILLCAST_ENV_FILE=/dev/null \
    FILLCAST_PUBLIC_URL=https://fillcast.example FILLCAST_INSTALLATION_TAG=lnt \
    FILLCAST_SECRET_KEY="$($python -c 'import secrets; print(secrets.token_urlsafe(64))')" \
    FILLCAST_CREDENTIALS_PUBLIC_KEY="$($python -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())')" \
    DATABASE_URL=postgresql://nobody@localhost/none REDIS_URL=redis://localhost "$@"
}

long_template_lines() {
  ! git ls-files -z '*.html' | xargs -0 awk 'length($0) > 120 { print FILENAME ":" FNR ": " length($0) " characters" }' | grep .
}

# mypy takes two thirds of the time, on one core: the others run beside it.
mypy_output=$(mktemp)
trap 'rm -f "$mypy_output"' EXIT
$python -m mypy . >"$mypy_output" 2>&1 &
mypy=$!
mypy_result() {
  cat "$mypy_output"
  return "$mypy_status"
}

check 'ruff check' $python -m ruff check --output-format concise .
check 'ruff format' $python -m ruff format --check --output-format concise .
check 'imports only go down' .venv/bin/lint-imports
check 'templates: 120 characters' long_template_lines
check 'words of the glossary' $python deploy/vocabulary.py
check 'durations of test files' $python -m tests.durations
check 'migrations are complete' $python manage.py makemigrations --check --dry-run
check 'migrations: the released code runs beside them' $python manage.py check_migrations
check 'check --deploy' as_in_production $python manage.py check --deploy --fail-level WARNING
check 'docs/settings.md, *.env.example' $python manage.py settings_reference --check
check 'docs/reason-codes.md' $python manage.py reason_codes --check
check 'docs/alerts-reference.md' $python manage.py alerts_reference --check
check 'docs/events' $python manage.py event_schemas --check
check 'docs/roles.md' $python manage.py roles --check
check 'docs/role-matrix.md' $python -m tests.role_pages --check
check 'docs/brokers.md and order-types.md' $python manage.py broker_table --check
check 'docs/specification.md' $python manage.py specification_page --check
check 'requirements*.txt are the locks' $python deploy/lock_check.py
advise 'packages without known faults' deploy/supply.sh audit
wait "$mypy"
mypy_status=$?
check 'mypy --strict' mypy_result

if ((${#failed[@]})); then
  printf '\n%s of the checks failed: %s\n' "${#failed[@]}" "$(IFS=,; echo "${failed[*]}")"
  exit 1
fi
