# Fillcast's commands. `make` alone explains them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
STAMP := .venv/.installed
export PYTHONDONTWRITEBYTECODE ?=
# Two test processes per core: each waits part of the time. With three, engines that poll cost a third more.
WITHOUT_FAULTS := (not faults or quick) and not browser
export TEST_PROCESSES ?= $(shell echo $$(( 2 * $$(nproc) < 8 ? 2 * $$(nproc) : 8 )))

.PHONY: help venv demo up test test-processes test-all test-paused test-at explore durations coverage mutation planted schemathesis test-faults test-alarms test-browser chaos conformance client lint format peers bench bench-check plots \
	docs lock sbom clean test-containers

help: ## list these commands
	@echo "Fillcast executes a published trading signal: at most once on each account, and a stated reason where not."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
		| while IFS=$$'\t' read -r name words; do printf '  make %-12s %s\n' "$$name" "$$words"; done

venv: ## install the requirements into .venv, if they changed
	@deploy/venv.sh

demo: venv ## run all processes with demo data; ONCE=1: run it once and exit; VERBOSE=1, SPEED=60
	@$(PYTHON) manage.py demo $(if $(ONCE),--once) $(if $(VERBOSE),--verbose) $(if $(SPEED),--speed $(SPEED))

up: venv ## run all processes without demo data
	@$(PYTHON) manage.py stack

test: venv ## run the tests, two processes per core; T='tests/config -k name': a part
	@$(PYTHON) -m pytest $(or $(T),$(if $(TEST_DATABASE_URL)$(TEST_REDIS_URL),,-n $(TEST_PROCESSES)))

test-processes: venv ## run the tests that start processes of their own: stack, servers, demo, small benchmarks, some crashes
	@$(PYTHON) -m pytest -m '(processes or quick) and not exhaustive and not browser' $(or $(T),-n $(TEST_PROCESSES))

test-all: venv ## all of them, for every broker, page and operation, with five times the examples: half an hour or more
	@TEST_BASE=none HYPOTHESIS_PROFILE=all $(PYTHON) -m pytest -m '$(WITHOUT_FAULTS)' $(or $(T),-n $(TEST_PROCESSES))

test-paused: venv ## stop each test for two seconds, at another statement with each SEED; finds what depends on speed; about an hour
	@TEST_BASE=none TEST_PAUSES=$(or $(SEED),1) $(PYTHON) -m pytest $(or $(T),-n 12)

test-at: venv ## run the tests as if another time had come, in UTC; AT='2027-02-28 23:50'; needs a C compiler
	@mkdir -p var; $(CC) -O2 -shared -fPIC -o var/moved_clock.so tests/moved_clock.c
	@TEST_BASE=none MOVED_CLOCK=$$(( $$(date -u -d '$(or $(AT),2027-02-28 23:50)' +%s) - $$(date +%s) )) LD_PRELOAD=$(CURDIR)/var/moved_clock.so \
		$(PYTHON) -m pytest $(or $(T),-n $(TEST_PROCESSES))

explore: venv ## search with other examples until something is found; MINUTES=30 SEED=1 T=tests/execution
	@$(PYTHON) -m tests.explore $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(T)

durations: venv ## measure how long each test file takes, into tests/durations.json, on an idle machine; T=a new file
	@TEST_BASE=none TEST_DURATIONS=$(if $(T),some,all) $(PYTHON) -m pytest $(or $(T),-n 2)

coverage: venv ## measure what test-all reaches; fails below its bars; ONLY=decisions (half a minute), ONLY=brokers
	@deploy/coverage.sh $(ONLY)

mutation: ## change lines that decide about money, rights or truth; list changes that no test notices; FILES=, SLICE=3, SURVIVORS=1
	@deploy/venv.sh var/mutation-venv requirements-mutation.txt
	@var/mutation-venv/bin/python -m tests.mutation $(if $(SURVIVORS),--survivors) $(if $(SLICE),--slice $(SLICE)) $(FILES)

planted: venv ## plant mistakes where two things meet, one at a time; each must be noticed; WORDS='fence sql'
	@$(PYTHON) -m tests.mutation.planted $(WORDS)

schemathesis: venv ## make calls that the API's schema allows, others each time; EXAMPLES=500 for each operation
	@SCHEMATHESIS_EXAMPLES=$(or $(EXAMPLES),100) $(PYTHON) -m pytest tests/api/test_generated_calls.py -m exhaustive -n $(TEST_PROCESSES) --dist load -o timeout=3600

test-faults: venv ## run the crash and network-failure tests on real processes; about 20 minutes
	@$(PYTHON) -m pytest tests/faults -m "faults or not faults" $(T)

test-alarms: venv ## let 62 failures of a running stack raise their alarms, each its own; half an hour
	@$(PYTHON) -m pytest -m faults $(or $(T),tests/stack/test_raised_alarms.py)

test-browser: venv ## use every page of a running demo in chromium, on desktop, phone, dark; screenshots in var/screenshots
	@$(PYTHON) -m pytest $(or $(T),tests/browser) -m browser -n 2

test-containers: venv ## build and run docker-compose.yml in Docker or podman: trades, a kill of each container, a restore; KEEP=1
	@$(PYTHON) -m tests.containers $(if $(KEEP),--keep)

chaos: venv ## break something every one to three seconds under load, then count; SECONDS=600 SEED=1 BUSY=2
	@$(PYTHON) -m tests.faults.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(BUSY),--busy $(BUSY))

lint: venv ## check style, types, import layers, words, migrations, deployment, generated pages
	@deploy/lint.sh

format: venv ## format the code
	@$(PYTHON) -m ruff check --fix-only --quiet .
	@$(PYTHON) -m ruff format .

docs: venv ## write the generated pages, then build the documentation site into var/site
	@$(PYTHON) manage.py settings_reference
	@$(PYTHON) manage.py reason_codes
	@$(PYTHON) manage.py alerts_reference
	@$(PYTHON) manage.py roles
	@$(PYTHON) -m tests.role_pages
	@$(PYTHON) manage.py broker_table
	@$(PYTHON) manage.py event_schemas
	@$(PYTHON) manage.py specification_page
	@$(PYTHON) -m tests.conformance --docs
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet --strict

conformance: venv ## check every broker adapter against its fake broker; ADAPTER=mt5-dwx
	@$(PYTHON) -m tests.conformance $(if $(ADAPTER),--adapter "$(ADAPTER)")

client: venv ## generate a Python client of the API into var/fillcast-client
	@$(PYTHON) manage.py spectacular --format openapi-json --file var/openapi.json
	@PATH="$(CURDIR)/.venv/bin:$$PATH" openapi-python-client generate --path var/openapi.json --output-path var/fillcast-client --overwrite

peers: venv ## install what `make bench ONLY=peers` measures beside Fillcast into var/peers
	@deploy/peers.sh

bench: venv $(if $(filter peers,$(ONLY)),peers) ## run the benchmarks (half an hour); ONLY=fanout, N=1000, ROUNDS=3; ONLY=help lists them
	@$(PYTHON) manage.py bench $(if $(ONLY),--only $(ONLY)) $(if $(N),-n $(N)) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-check: venv ## run the benchmarks of benchmarks/expected.json and fail if a ratio is worse by more than a fifth; ONLY, ROUNDS, SMALL=1
	@$(PYTHON) manage.py bench --check $(if $(SMALL),--small) $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

plots: ## draw the pictures of docs/performance.md from benchmarks/measured; FROM=var/bench: your own runs, there
	@ALONE=1 deploy/venv.sh var/plots-venv requirements-plots.txt
	@var/plots-venv/bin/python -m benchmarks.plots $(if $(FROM),--from $(FROM) --to $(FROM))

sbom: ## list all packages in var/sbom.json (CycloneDX), and ask the index for their known faults
	@ALONE=1 deploy/venv.sh var/supply-venv requirements-supply.txt
	@deploy/supply.sh sbom
	@deploy/supply.sh audit || [ $$? = 3 ]

lock: venv ## pin what requirements*.in allow; deploy/lock.sh --upgrade takes newer versions
	@deploy/lock.sh

clean: ## remove .venv and var/, with the demo's data
	@deploy/clean.sh
