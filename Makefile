# make help tells what there is. Everything is made in .venv, .venv-RELEASE, build and dist.

PYTHON := .venv/bin/python
SCENARIO ?= h100x8
# The tests start thousands of processes, each of which would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE

# Each with the libraries it ships and with its Python.
RELEASES := ubuntu-22.04 debian-12 ubuntu-24.04 debian-13
# With the Python of Debian testing, in a root of that: hardly a machine has it.
NEWEST := ubuntu-26.04
PYTHON_OF_ubuntu-22.04 := 3.10
PYTHON_OF_debian-12 := 3.11
PYTHON_OF_ubuntu-24.04 := 3.12
PYTHON_OF_debian-13 := 3.13
OLDEST := ubuntu-22.04
BROWSERS := chromium fonts-dejavu-core default-jre-headless w3m
FAULTS := tests/simulation tests/soak tests/fuzz
# The end-to-end tests of make test: the process, its pages, its outages. Nothing but Python is needed.
SMOKE := $(patsubst %,tests/e2e/test_%.py,golden_pages serving engine_comes_and_goes)

# Most tests wait for engines and clocks; a file's tests share processes, so they stay together.
# Files in the order given: pytest-xdist would keep those of few tests, the longest, for the end.
PYTEST := -m pytest -n 3 --dist loadfile --no-loadscope-reorder
# $(call pytest,NAME,TESTS): one part, measured if MEASURED is set.
define pytest
$(if $(MEASURED),@rm -rf build/coverage/$1 && mkdir -p build/coverage/$1)
@tools/part $1 $(if $(MEASURED),.venv/bin/coverage run --data-file=build/coverage/$1/data,$(PYTHON)) $(PYTEST) $2
endef

# Two parts at a time, for none keeps two cores busy: they wait for engines and booted systems.
ifneq ($(filter test test-all,$(MAKECMDGOALS)),)
MAKEFLAGS += --jobs=2 --keep-going
endif

.PHONY: help run test test-all test-lint test-unit test-contract test-smoke test-e2e test-coverage test-missing
.PHONY: test-faults test-browser test-package $(RELEASES:%=test-%) test-$(NEWEST) lint
.PHONY: fault-simulation soak soak-http fuzz testssl audit
.PHONY: deb deb-src apt-repo bench bench-plot fleet dashboards screenshots clean

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: .venv/run ## the exporter on simulated GPUs: http://localhost:9401/ (SCENARIO=hgx ...)
	$(PYTHON) -m do_dcgm_exporter --simulate $(SCENARIO) --default-counters etc/do-dcgm-exporter/default-counters.csv

# The longest first.
test: test-unit test-lint test-contract test-smoke ## lint, unit, contract, a few end-to-end runs
	@echo "make test: everything passed"

# The libraries of a release run with its Python; where this machine lacks one, that is said.
ifneq ($(filter test-all,$(MAKECMDGOALS)),)
has-python = $(shell tools/find-python $(PYTHON_OF_$1) 2>&-)
HERE := $(strip $(foreach release,$(RELEASES),$(if $(call has-python,$(release)),$(release))))
MISSING := $(filter-out $(HERE),$(RELEASES))
# The tests of the packages take longest, and begin as soon as their environment is there.
$(HERE:%=.venv-%/test): | .venv/browser
# Nothing is installed into an environment that is in use.
test-unit test-lint test-contract test-smoke test-e2e test-faults test-package test-$(NEWEST): .venv/browser
endif
test-all: export MEASURED := yes
test-all: test-missing test-package test test-e2e test-coverage test-faults test-browser $(HERE:%=test-%) test-$(NEWEST) ## every test: what CI runs
	@echo "make test-all: everything passed$(if $(MISSING),; not run: $(MISSING))"

test-missing:
	@$(foreach release,$(MISSING),echo "$(release): NOT RUN: there is no Python $(PYTHON_OF_$(release)) here";)

test-lint: .venv/test
	@MAKEFLAGS= tools/part lint make --no-print-directory lint

test-unit: .venv/test
	$(call pytest,unit,tests/unit)

test-contract: .venv/test
	$(call pytest,contract,tests/contract)

test-smoke: .venv/test
	$(call pytest,smoke,$(SMOKE))

test-e2e: .venv/test build/prometheus/usr/bin/promtool ## the end-to-end tests that make test leaves out
	@tools/part e2e $(PYTHON) $(PYTEST) tests/e2e $(SMOKE:%=--ignore=%)

test-coverage: test-unit test-contract test-smoke
	@.venv/bin/coverage combine --quiet --keep --data-file=build/coverage/data build/coverage/*/
	@tools/part coverage .venv/bin/coverage report --data-file=build/coverage/data --fail-under=90 --skip-covered

# Neither these nor the end-to-end tests are measured: that costs minutes and adds one percent.
test-faults: .venv/test build/prometheus/usr/bin/promtool ## short runs of fault-simulation, soak and fuzz
	@tools/part faults $(PYTHON) $(PYTEST) $(FAULTS)

# With the oldest libraries everything but the longest, in which no library has a part; with those
# in between what has to do with libraries.
LONGEST := $(patsubst %,tests/unit/%.py,dcgm_simulator/test_recordings integration/test_interruptions \
	integration/test_wrapper_script test_engine_log test_profiling_lasts test_recording test_session) \
	$(patsubst %,tests/e2e/test_%.py,alerts dashboards dcgm_upgrade gpu_faults peaks prometheus_examples)
NO_LIBRARY := $(wildcard $(addprefix tests/unit/,integration dcgm_simulator usage $(patsubst %,test_%.py,\
	batch_reader bindings_api compute_instances conversions discovery engine_log generations hostengine \
	nvlink one_refusal p2p peaks profiling_lasts recording sampled_energy session watcher xid)))
$(RELEASES:%=test-%): test-%: .venv-%/test build/prometheus/usr/bin/promtool
	@tools/part $* .venv-$*/bin/python $(PYTEST) tests/unit \
	$(if $(filter $(OLDEST),$*),tests/e2e $(LONGEST:%=--ignore=%),$(NO_LIBRARY:%=--ignore=%))

test-$(NEWEST): .venv/test
	@tools/part $(NEWEST) $(PYTHON) -m pytest tests/package/test_newest_python.py

test-browser: .venv/browser ## the status page in chromium and w3m (root on Debian installs them)
	@tools/need-packages $(BROWSERS)
	@tools/part browser $(PYTHON) -m pytest -n 2 --dist loadfile tests/browser

test-package: .venv/test ## the packages in booted Debian systems (root; DISTRIBUTIONS=trixie; on Ubuntu DEBIAN_ARCHIVE=URL)
	@tools/part package $(PYTHON) -m pytest -n 3 --dist loadgroup tests/package \
	--ignore=tests/package/test_newest_python.py

screenshots: .venv/browser ## redraw docs/images
	tools/need-packages $(BROWSERS) pngquant
	.venv/bin/python -m tests.browser.screenshots docs/images
	pngquant --force --strip --ext .png 64 docs/images/*.png

lint: .venv/test ## ruff, mypy --strict, import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

deb: ## the Debian packages, in dist
	tools/make-deb dist

deb-src: ## the source package, in dist
	tools/make-deb dist source

apt-repo: deb ## a signed repository of them, in dist/apt (SIGNING_KEY, GNUPGHOME)
	tools/make-apt-repo dist/apt dist/*.deb

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

audit: .venv-audit/audit ## known vulnerabilities of all pinned releases; says so if the database cannot be reached
	tools/audit .venv-audit/bin/pip-audit

bench: .venv/test build/wrk ## what a cycle and a scrape cost, as a table (BASE=REVISION to compare, FULL=1)
	$(PYTHON) -m tests.bench $(if $(FULL),--full) $(if $(BASE),--base $(BASE))

bench-plot: .venv/test ## draw docs/performance.svg from the last make bench
	$(PYTHON) -m tests.bench.plot build/bench.json docs/performance.svg

fleet: .venv/test build/prometheus/usr/bin/promtool ## what many hosts take of a Prometheus: 200 targets, some twelve minutes
	nice $(PYTHON) -m tests.bench.fleet

dashboards: .venv/run ## write examples/grafana and the rules of 4.9's names from tools/dashboards
	$(PYTHON) -m tools.dashboards

clean: ## remove everything that was made
	rm -rf .venv .venv-* build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/run: $(patsubst %,tests/requirements/%.txt,build run) pyproject.toml
	@tools/part environment tools/make-venv .venv $(filter %.txt,$^)
	@touch $@

.venv/test: $(patsubst %,tests/requirements/%.txt,test coverage lint) .venv/run
	@tools/part environment tools/make-venv .venv $(filter %.txt,$^)
	@touch $@

.venv/browser: tests/requirements/browser.txt .venv/test
	@tools/part environment tools/make-venv .venv $(filter %.txt,$^)
	@touch $@

.venv/fuzz: tests/requirements/fuzz.txt .venv/test
	tools/make-venv .venv $<
	touch $@

$(RELEASES:%=.venv-%/test): .venv-%/test: $(patsubst %,tests/requirements/%.txt,build test) pyproject.toml
$(RELEASES:%=.venv-%/test): .venv-%/test: tests/requirements/%.txt
	@PYTHON=$$(tools/find-python $(PYTHON_OF_$*)) && export PYTHON && \
	tools/part environment-$* tools/make-venv .venv-$* $(filter %.txt,$^)
	@touch $@

.venv-audit/audit: tests/requirements/audit.txt
	tools/make-venv .venv-audit $^
	touch $@

build/prometheus/usr/bin/promtool:
	@tools/part prometheus tools/get-prometheus build/prometheus

build/wrk:
	tools/get-wrk build/wrk
