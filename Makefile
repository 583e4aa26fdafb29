# Fillcast's commands. `make` alone explains them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
STAMP := .venv/.installed
export PYTHONDONTWRITEBYTECODE ?=
# Tests wait for processes and brokers a part of their time.
TEST_PROCESSES ?= $(shell echo $$(( 2 * $$(nproc) < 12 ? 2 * $$(nproc) : 12 )))

.PHONY: help venv demo up test coverage test-faults chaos conformance lint format bench docs lock clean

help: ## this page
	@echo "Fillcast: publish a trading signal once; have it filled on every subscribed account."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
		| while IFS=$$'\t' read -r name words; do printf '  make %-12s %s\n' "$$name" "$$words"; done

venv: ## install what Fillcast needs into .venv (again only if the requirements changed)
	@deploy/venv.sh

demo: venv ## the whole thing with demo data in the browser; ONCE=1: through it once; VERBOSE=1, SPEED=60
	@$(PYTHON) manage.py demo $(if $(ONCE),--once) $(if $(VERBOSE),--verbose) $(if $(SPEED),--speed $(SPEED))

up: venv ## the same without demo data
	@$(PYTHON) manage.py stack

test: venv ## all tests, two processes per core, each with its own servers; T='tests/config -k name' for a part
	@$(PYTHON) -m pytest $(or $(T),$(if $(TEST_DATABASE_URL)$(TEST_REDIS_URL),,-n $(TEST_PROCESSES)))

coverage: venv ## what the tests of brokers/ reach of it; fails below 80 %, for parse.py and codes.py below 100 %
	@deploy/coverage.sh

test-faults: venv ## every death, stop and cut that we know how to survive: real processes, some 20 minutes
	@$(PYTHON) -m pytest tests/faults -m "faults or not faults" $(T)

chaos: venv ## the stack under load while something breaks every second or two; SECONDS=600 SEED=1 BUSY=2
	@$(PYTHON) -m tests.faults.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(BUSY),--busy $(BUSY))

lint: venv ## style, types, layers, migrations, deployment checks, generated docs
	@deploy/lint.sh

format: venv ## put the code into the house's format
	@$(PYTHON) -m ruff check --fix-only --quiet .
	@$(PYTHON) -m ruff format .

docs: venv ## write the generated pages anew
	@$(PYTHON) manage.py settings_reference
	@$(PYTHON) manage.py reason_codes
	@$(PYTHON) manage.py roles
	@$(PYTHON) -m tests.role_pages
	@$(PYTHON) manage.py broker_table
	@$(PYTHON) -m tests.conformance --docs

conformance: venv ## what every broker adapter must do, each against its double, as one table; ADAPTER=mt5-dwx
	@$(PYTHON) -m tests.conformance $(if $(ADAPTER),--adapter "$(ADAPTER)")

bench: venv ## measure; ONLY=fanout, N=1000, ROUNDS=3
	@$(PYTHON) manage.py bench $(if $(ONLY),--only $(ONLY)) $(if $(N),-n $(N)) $(if $(ROUNDS),--rounds $(ROUNDS))

lock: venv ## choose the newest versions that requirements*.in allow, and pin them
	@deploy/lock.sh

clean: ## remove .venv and var/ (the demo's data too)
	@deploy/clean.sh
