# make demo: from nothing to a served leaderboard. make test: the fast suite. Needs Python >= 3.11.
# The demo and the dashboard use a small environment of their own; the tests need everything.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_VENV := .venv-demo
DEMO_BIN := $(DEMO_VENV)/bin
DEMO_READY := $(DEMO_VENV)/.ready
CORE_VENV := .venv-core
CORE_READY := $(CORE_VENV)/.ready
# A Python newer than the oldest one supported; the fast suite's core part runs on it too.
CORE_PYTHON ?= $(shell .ci/newer-python)
# The demo's own hub folder: your user-wide one stays as it is.
DEMO_HOME := $(CURDIR)/.cache/demo
DEMO := ETCHMARK_HOME=$(DEMO_HOME) $(DEMO_BIN)/etchmark
DEMO_LIMIT_MB := 1000
DASHBOARD ?= 1
PORT ?= 8501
# Two workers and one numerical thread each suit small machines best.
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
INSTALL := -m pip install --quiet --disable-pip-version-check -c constraints.txt
BROWSER := $(BIN)/python $(INSTALL) -e '.[browser]'
CHECK_PYTHON := -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.11 (or newer)")'

.PHONY: help setup core demo demo-size dashboard lint test test-all test-core test-slow test-browser screenshots speed speed-dashboard findings docs results data clean

help:
	@echo "make demo       install into $(DEMO_VENV), build, score two baselines, submit a file, serve the board"
	@echo "make dashboard  serve the dashboard on localhost:$(PORT)"
	@echo "make setup      make $(VENV) with everything that tests and training need (6 GB with CUDA)"
	@echo "make test       fast suite (make test-all: with the slow tests; make lint)"
	@echo "make test-core  the fast suite without PyTorch and the other extras, on a newer Python"
	@echo "make test-browser  the dashboard in headless Chromium; pictures in .cache/screenshots"
	@echo "make screenshots   the pictures of the documentation; HUB=FOLDER to show a hub of your own"
	@echo "make speed      solvers and statistics beside their peers; tables in docs/speed.md"
	@echo "make findings   write docs/findings.md and literature.md from the reviewed records"
	@echo "make docs       the documentation as a site, in .cache/site; broken links end it"
	@echo "make results    run every baseline that has no reviewed record yet (maintainers)"
	@echo "make data       build all data that need no network, with DVC"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) $(CHECK_PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) -e '.[simulate,features,dashboard,pipeline,dev]'
	@touch $@

$(DEMO_READY): pyproject.toml constraints.txt
	@$(PYTHON) $(CHECK_PYTHON)
	@test -x $(DEMO_BIN)/python || $(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_BIN)/python $(INSTALL) -e '.[dashboard]'
	@touch $@

setup: $(READY)

demo: $(DEMO_READY)
	$(DEMO) build superalloys --config composition
	$(DEMO) evaluate training_mean superalloy-hardness
	$(DEMO) evaluate composition_regression/ridge superalloy-hardness
	ETCHMARK_HOME=$(DEMO_HOME) $(DEMO_BIN)/python leaderboard/example_submission.py $(DEMO_HOME)/my-predictions.parquet
	$(DEMO) submit $(DEMO_HOME)/my-predictions.parquet superalloy-hardness --name my-random-forest --track composition --protocol leave-paper-out
	$(DEMO) leaderboard superalloy-hardness
	$(DEMO) build composites --config 3d-mini
	$(DEMO) evaluate two_point_statistics/quadratic-log composite-stiffness-3d --mini
	$(DEMO) leaderboard composite-stiffness-3d
	@if [ "$(DASHBOARD)" = 1 ]; then echo "dashboard: http://localhost:$(PORT) (Ctrl-C ends it)"; exec env ETCHMARK_HOME=$(DEMO_HOME) $(DEMO_BIN)/etchmark dashboard --port $(PORT); fi

# What the demo installs stays small.
demo-size: $(DEMO_READY)
	@size=$$(du -sm $(DEMO_VENV) | cut -f1); echo "$(DEMO_VENV): $$size MB of $(DEMO_LIMIT_MB) allowed"; test $$size -lt $(DEMO_LIMIT_MB)

dashboard: $(DEMO_READY)
	$(DEMO_BIN)/etchmark dashboard --port $(PORT)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

test: setup
	$(PYTEST) -n $(JOBS)

# Tests of what the other extras bring skip themselves here. Left out for time: numerical code, content,
# pages, and what depends on data alone; the fast suite runs them on the oldest Python. What stays is
# where Python versions differ: processes, signals, files, databases, parsing and the command line.
CORE_WITHOUT := simulation leaderboard performance baselines datasets features learning boards submission \
  scoring reliability data/test_shipped_slips.py targets/test_frames.py targets/test_frames_scored.py \
  evaluation/test_checkpoints.py evaluation/test_curves.py \
  evaluation/test_worker.py registry/test_damage.py registry/test_reviewed.py \
  registry/test_plausible.py test_agreement.py test_contributing.py \
  test_findings.py test_records_1.py
$(CORE_READY): pyproject.toml constraints.txt
	@test -n "$(CORE_PYTHON)" || { echo "no Python newer than the oldest one supported was found; set CORE_PYTHON"; exit 1; }
	@$(CORE_PYTHON) -m venv --clear $(CORE_VENV)
	$(CORE_VENV)/bin/python $(INSTALL) -e '.[dashboard,test]'
	@touch $@

core: $(CORE_READY)

test-core: core
	OMP_NUM_THREADS=1 $(CORE_VENV)/bin/python -m pytest -n $(JOBS) $(CORE_WITHOUT:%=--ignore tests/%)

test-slow: setup
	$(PYTEST) -n $(JOBS) -m slow

# Both suites in one run, since collecting the tests takes its time as well.
test-all: setup
	$(PYTEST) -n $(JOBS) -m "not speed and not browser"

findings: setup
	$(BIN)/python docs/make_findings.py

# The site needs no network and fetches nothing; warnings, such as broken links and anchors, are errors.
docs: setup
	$(BIN)/python $(INSTALL) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "read it: python3 -m http.server --directory .cache/site"

# Chromium and its driver are found on the path, or Selenium fetches them.
test-browser: setup
	$(BROWSER)
	$(PYTEST) -m browser tests/browser

screenshots: setup
	$(BROWSER)
	$(BIN)/python tests/browser/screenshots.py $(HUB)

# A registry of 10,000 submissions, made in some minutes, and how long its pages take in Chromium.
speed-dashboard: setup
	$(BROWSER)
	$(BIN)/python tests/performance/dashboard_speed.py .cache/large

# Peers and GPU are measured if they are there; ratios in one run, so that the machine cancels out.
# evoxels has an environment of its own. One thread, then two; tables go to docs/speed.md.
EVOXELS := .cache/evoxels
MEASURE := ETCHMARK_SPEED_FILE=.cache/speed.json ETCHMARK_EVOXELS=$(CURDIR)/$(EVOXELS)/bin/python
speed: setup $(EVOXELS)/.ready
	$(BIN)/python $(INSTALL) -e '.[speed]'
	rm -f .cache/speed.json
	status=0; \
	ETCHMARK_SPEED_THREADS=1 $(MEASURE) $(BIN)/python -m pytest tests/performance -m speed -s -k "(beside and not loop) or 51_cubed or two_point" || status=1; \
	ETCHMARK_SPEED_THREADS=2 $(MEASURE) $(BIN)/python -m pytest tests/performance -m speed -s || status=1; \
	$(BIN)/python tests/performance/side_by_side.py .cache/speed.json docs/speed.md && exit $$status

$(EVOXELS)/.ready: $(READY)
	$(BIN)/python -m venv $(EVOXELS)
	$(EVOXELS)/bin/python -m pip install --quiet --disable-pip-version-check 'evoxels[jax]==1.1.0'
	@touch $@

results: setup
	$(BIN)/etchmark results run --all

# Each dataset brings its own stages; those below datasets/*/*/ download, and are left out.
data: setup
	PATH="$(abspath $(BIN)):$$PATH" dvc repro $(wildcard datasets/*/dvc.yaml)

clean:
	rm -rf $(VENV) $(DEMO_VENV) $(CORE_VENV) .cache runs dist
