# make help tells what there is. Everything is made in .venv, .venv-oldest and build.

export PYTHONPATH := src
PYTHON := .venv/bin/python
SCENARIO ?= h100x8
# Most tests wait for engines and clocks; a file's tests share processes, so they stay together.
PYTEST := -m pytest -n 3 --dist loadfile

.PHONY: apt-repo audit soak-http testssl deb test-package help run test test-newest test-oldest lint bench bench-plot clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: .venv/run ## the exporter on simulated GPUs: http://localhost:9401/ (SCENARIO=hgx ...)
	$(PYTHON) -m do_dcgm_exporter --simulate $(SCENARIO) --default-counters etc/do-dcgm-exporter/default-counters.csv

test: test-newest test-oldest ## every test, with the newest and the oldest libraries

test-newest: .venv/test build/prometheus/usr/bin/promtool
	rm -f .coverage .coverage.*
	.venv/bin/coverage run $(PYTEST) tests/unit tests/contract tests/e2e
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report --fail-under=90 --skip-covered

test-oldest: .venv-oldest/test build/prometheus/usr/bin/promtool
	.venv-oldest/bin/python $(PYTEST) tests/unit tests/e2e

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

soak-http: .venv/test build/prometheus/usr/bin/promtool ## 100,000 requests of every shape, in the clear and with TLS (SEED=N)
	$(PYTHON) -m tests.soak.http $(if $(SEED),--seed $(SEED))
	$(PYTHON) -m tests.soak.http --tls $(if $(SEED),--seed $(SEED))

testssl: .venv/test ## Debian's testssl.sh against the TLS listener
	tools/need-packages testssl.sh
	$(PYTHON) -m tests.soak.testssl

audit: .venv-audit/audit ## known vulnerabilities of all pinned releases; says so if nobody can be asked
	tools/audit .venv-audit/bin/pip-audit

bench: .venv/test build/wrk ## what a cycle and a scrape cost, as a table (BASE=REVISION to compare, FULL=1)
	$(PYTHON) -m tests.bench $(if $(FULL),--full) $(if $(BASE),--base $(BASE))

bench-plot: .venv/test ## draw docs/performance.svg from the last make bench
	$(PYTHON) -m tests.bench.plot build/bench.json docs/performance.svg

clean: ## remove everything that was made
	rm -rf .venv .venv-audit .venv-oldest build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/run: tests/requirements/run.txt
	tools/make-venv .venv $^
	touch $@

.venv/test: tests/requirements/test.txt tests/requirements/lint.txt .venv/run
	tools/make-venv .venv $(filter %.txt,$^)
	touch $@

.venv-oldest/test: tests/requirements/oldest.txt tests/requirements/test.txt
	tools/make-venv .venv-oldest $^
	touch $@

.venv-audit/audit: tests/requirements/audit.txt
	tools/make-venv .venv-audit $^
	touch $@

build/prometheus/usr/bin/promtool:
	tools/get-prometheus build/prometheus

build/wrk:
	tools/get-wrk build/wrk
