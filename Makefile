# make help tells what there is. Everything is made in .venv, .venv-oldest and build.

export PYTHONPATH := src
PYTHON := .venv/bin/python
SCENARIO ?= h100x8
# Most tests wait for engines and clocks; a file's tests share processes, so they stay together.
PYTEST := -m pytest -n 3 --dist loadfile
FAULTS := tests/simulation tests/soak tests/fuzz

.PHONY: apt-repo deb test-package help run test test-newest test-oldest lint bench bench-plot clean
.PHONY: fault-simulation soak fuzz

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: .venv/run ## the exporter on simulated GPUs: http://localhost:9401/ (SCENARIO=hgx ...)
	$(PYTHON) -m do_dcgm_exporter --simulate $(SCENARIO) --default-counters etc/do-dcgm-exporter/default-counters.csv

test: test-newest test-oldest ## every test, with the newest and the oldest libraries

test-newest: .venv/test build/prometheus/usr/bin/promtool
	rm -f .coverage .coverage.*
	.venv/bin/coverage run $(PYTEST) tests/unit tests/contract tests/e2e $(FAULTS)
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report --fail-under=90 --skip-covered

test-oldest: .venv-oldest/test build/prometheus/usr/bin/promtool
	.venv-oldest/bin/python $(PYTEST) tests/unit tests/e2e $(FAULTS)

lint: .venv/test ## ruff and mypy --strict
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

deb: ## the Debian packages, in dist
	tools/make-deb dist

apt-repo: deb ## a signed repository of them, in dist/apt (SIGNING_KEY, GNUPGHOME)
	tools/make-apt-repo dist/apt dist/*.deb

test-package: .venv/test ## the packages in booted Debian systems (root on Debian or Ubuntu)
	.venv/bin/python -m pytest -n 3 --dist loadgroup tests/package

fault-simulation: .venv/test ## faults in virtual time, SEEDS=10000 schedules (docs/reliability.md)
	nice $(PYTHON) -m tests.simulation --seeds $(or $(SEEDS),10000)

soak: .venv/test ## hundreds of faults and a day's cycles on real processes (some 30 minutes)
	$(PYTHON) -m tests.soak

fuzz: .venv/fuzz ## coverage-guided fuzzing of all that is read, each for SECONDS=60
	nice $(PYTHON) -m tests.fuzz --seconds $(or $(SECONDS),60)

bench: .venv/test build/wrk ## what a cycle and a scrape cost, as a table (BASE=REVISION to compare, FULL=1)
	$(PYTHON) -m tests.bench $(if $(FULL),--full) $(if $(BASE),--base $(BASE))

bench-plot: .venv/test ## draw docs/performance.svg from the last make bench
	$(PYTHON) -m tests.bench.plot build/bench.json docs/performance.svg

clean: ## remove everything that was made
	rm -rf .venv .venv-oldest build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/run: tests/requirements/run.txt
	tools/make-venv .venv $^
	touch $@

.venv/test: tests/requirements/test.txt tests/requirements/lint.txt .venv/run
	tools/make-venv .venv $(filter %.txt,$^)
	touch $@

.venv/fuzz: tests/requirements/fuzz.txt .venv/test
	tools/make-venv .venv $<
	touch $@

.venv-oldest/test: tests/requirements/oldest.txt tests/requirements/test.txt
	tools/make-venv .venv-oldest $^
	touch $@

build/prometheus/usr/bin/promtool:
	tools/get-prometheus build/prometheus

build/wrk:
	tools/get-wrk build/wrk
