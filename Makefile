# make help tells what there is. Everything is made in .venv, .venv-RELEASE, build and dist.

PYTHON := .venv/bin/python
SCENARIO ?= h100x8
# Each with the libraries it ships and, where this machine has it, its Python.
RELEASES := ubuntu-22.04 debian-12 ubuntu-24.04 debian-13
PYTHON_OF_ubuntu-22.04 := 3.10
PYTHON_OF_debian-12 := 3.11
PYTHON_OF_ubuntu-24.04 := 3.12
PYTHON_OF_debian-13 := 3.13
# Most tests wait for engines and clocks; a file's tests share processes, so they stay together.
# Files in the order given: pytest-xdist would keep those of few tests, the longest, for the end.
PYTEST := -m pytest -n 3 --dist loadfile --no-loadscope-reorder
BROWSERS := chromium fonts-dejavu-core default-jre-headless w3m
FAULTS := tests/simulation tests/soak tests/fuzz
# What libraries have a part in; with the oldest Python, that of Ubuntu 22.04, all of tests/unit.
LIBRARY_UNIT := $(patsubst %,tests/unit/test_%.py,cli config_file configuration forward_attempt \
	forwarder passwords publisher supply telemetry tls_context web web_config web_security)
LIBRARY_E2E := $(patsubst %,tests/e2e/test_%.py,command forwarding golden_pages reload web_config)

.PHONY: help run test test-newest test-faults test-browser test-package $(RELEASES:%=test-%) lint
.PHONY: fault-simulation soak soak-http fuzz testssl audit
.PHONY: deb apt-repo bench bench-plot fleet dashboards screenshots clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: .venv/run ## the exporter on simulated GPUs: http://localhost:9401/ (SCENARIO=hgx ...)
	$(PYTHON) -m do_dcgm_exporter --simulate $(SCENARIO) --default-counters etc/do-dcgm-exporter/default-counters.csv

# Two at a time, for neither keeps two cores busy: booted systems and engines are waited for.
# The longest first; each tells what it has to say when it ends.
test: .venv/browser ## every test
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target \
		test-package test-newest test-faults test-browser $(RELEASES:%=test-%)

test-newest: .venv/test build/prometheus/usr/bin/promtool
	rm -f .coverage .coverage.*
	.venv/bin/coverage run $(PYTEST) tests/e2e tests/contract tests/unit
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report --fail-under=90 --skip-covered

# Not measured: that would double the time of schedules that go over the same lines again.
test-faults: .venv/test build/prometheus/usr/bin/promtool
	$(PYTHON) $(PYTEST) $(FAULTS)

$(RELEASES:%=test-%): test-%: .venv-%/test build/prometheus/usr/bin/promtool
	.venv-$*/bin/python $(PYTEST) $(LIBRARY_E2E) $(if $(filter ubuntu-22.04,$*),tests/unit,$(LIBRARY_UNIT))

test-browser: .venv/browser ## the status page in chromium and w3m (root on Debian installs them)
	tools/need-packages $(BROWSERS)
	.venv/bin/python -m pytest -n 2 --dist loadfile tests/browser

screenshots: .venv/browser ## docs/images, made anew
	tools/need-packages $(BROWSERS) pngquant
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

fault-simulation: .venv/test ## faults in virtual time, SEEDS=10000 schedules (docs/reliability.md)
	nice $(PYTHON) -m tests.simulation --seeds $(or $(SEEDS),10000)

soak: .venv/test ## hundreds of faults and a day's cycles on real processes (some 30 minutes)
	$(PYTHON) -m tests.soak

fuzz: .venv/fuzz ## coverage-guided fuzzing of all that is read, each for SECONDS=60
	nice $(PYTHON) -m tests.fuzz --seconds $(or $(SECONDS),60)

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

fleet: .venv/test build/prometheus/usr/bin/promtool ## what many hosts take of a Prometheus: 200 targets, some twelve minutes
	nice $(PYTHON) -m tests.bench.fleet

dashboards: .venv/run ## write examples/grafana from tools/dashboards
	$(PYTHON) -m tools.dashboards

clean: ## remove everything that was made
	rm -rf .venv .venv-* build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/run: $(patsubst %,tests/requirements/%.txt,build run) pyproject.toml
	tools/make-venv .venv $(filter %.txt,$^)
	touch $@

.venv/test: $(patsubst %,tests/requirements/%.txt,test coverage lint) .venv/run
	tools/make-venv .venv $(filter %.txt,$^)
	touch $@

.venv/browser: tests/requirements/browser.txt .venv/test
	tools/make-venv .venv $(filter %.txt,$^)
	touch $@

.venv/fuzz: tests/requirements/fuzz.txt .venv/test
	tools/make-venv .venv $<
	touch $@

$(RELEASES:%=.venv-%/test): .venv-%/test: $(patsubst %,tests/requirements/%.txt,build test) pyproject.toml
$(RELEASES:%=.venv-%/test): .venv-%/test: tests/requirements/%.txt
	PYTHON=$$(tools/find-python $(PYTHON_OF_$*)) tools/make-venv .venv-$* $(filter %.txt,$^)
	touch $@

.venv-audit/audit: tests/requirements/audit.txt
	tools/make-venv .venv-audit $^
	touch $@

build/prometheus/usr/bin/promtool:
	tools/get-prometheus build/prometheus

build/wrk:
	tools/get-wrk build/wrk
