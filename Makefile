# make help tells what there is. Everything is made in .venv, .venv-oldest and build.

export PYTHONPATH := src
PYTHON := .venv/bin/python
SCENARIO ?= h100x8
# Most tests wait for engines and clocks; a file's tests share processes, so they stay together.
PYTEST := -m pytest -n 3 --dist loadfile

.PHONY: apt-repo deb test-package help run test test-newest test-oldest test-browser screenshots lint bench bench-plot clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: .venv/run ## the exporter on simulated GPUs: http://localhost:9401/ (SCENARIO=hgx ...)
	$(PYTHON) -m do_dcgm_exporter --simulate $(SCENARIO) --default-counters etc/do-dcgm-exporter/default-counters.csv

test: test-newest test-oldest test-browser ## every test, with the newest and the oldest libraries

test-newest: .venv/test build/prometheus/usr/bin/promtool
	rm -f .coverage .coverage.*
	.venv/bin/coverage run $(PYTEST) tests/unit tests/contract tests/e2e
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report --fail-under=90 --skip-covered

test-oldest: .venv-oldest/test build/prometheus/usr/bin/promtool
	.venv-oldest/bin/python $(PYTEST) tests/unit tests/e2e

test-browser: .venv/browser ## the status page in chromium and w3m (root on Debian installs them)
	.venv/bin/python -m pytest -n 2 --dist loadfile tests/browser

screenshots: .venv/browser ## docs/images, made anew
	tools/need-packages pngquant
	.venv/bin/python -m tests.browser.screenshots docs/images
	pngquant --force --strip --ext .png 64 docs/images/*.png

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

.venv/browser: tests/requirements/browser.txt .venv/test
	tools/need-packages chromium fonts-dejavu-core default-jre-headless w3m
	tools/make-venv .venv $(filter %.txt,$^)
	touch $@

.venv-oldest/test: tests/requirements/oldest.txt tests/requirements/test.txt
	tools/make-venv .venv-oldest $^
	touch $@

build/prometheus/usr/bin/promtool:
	tools/get-prometheus build/prometheus

build/wrk:
	tools/get-wrk build/wrk
