# make demo: from nothing to a served leaderboard. make test: the fast suite. Needs Python >= 3.11.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The demo's own hub folder: your user-wide one stays as it is.
DEMO_HOME := $(CURDIR)/.cache/demo
DEMO := ETCHMARK_HOME=$(DEMO_HOME) $(BIN)/etchmark
DASHBOARD ?= 1
PORT ?= 8501
# Two workers and one numerical thread each suit small machines best.
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
BROWSER := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'

.PHONY: help setup demo dashboard lint test test-slow test-browser speed speed-dashboard results clean

help:
	@echo "make setup      make $(VENV) and install etchmark with the tested versions"
	@echo "make demo       setup, build, score two baselines, submit a file, show and serve the board"
	@echo "make dashboard  serve the dashboard on localhost:$(PORT)"
	@echo "make test       fast suite (make lint, make test-slow: the rest)"
	@echo "make test-browser  the dashboard in headless Chromium; pictures in .cache/screenshots"
	@echo "make speed      solver, peers and statistics side by side, as ratios"
	@echo "make results    run every baseline that has no reviewed record yet (maintainers)"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.11 (or newer)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[simulate,features,dashboard,pipeline,dev]'
	@touch $@

setup: $(READY)

demo: setup
	$(DEMO) build superalloys --config composition
	$(DEMO) evaluate training_mean superalloy-hardness
	$(DEMO) evaluate composition_regression/ridge superalloy-hardness
	ETCHMARK_HOME=$(DEMO_HOME) $(BIN)/python leaderboard/example_submission.py $(DEMO_HOME)/my-predictions.parquet
	$(DEMO) submit $(DEMO_HOME)/my-predictions.parquet superalloy-hardness --name my-random-forest --track composition --protocol leave-paper-out
	$(DEMO) leaderboard superalloy-hardness
	$(DEMO) build composites --config 3d-mini
	$(DEMO) evaluate two_point_statistics/quadratic-log composite-stiffness-3d --mini
	$(DEMO) leaderboard composite-stiffness-3d
	@if [ "$(DASHBOARD)" = 1 ]; then echo "dashboard: http://localhost:$(PORT) (Ctrl-C ends it)"; exec env ETCHMARK_HOME=$(DEMO_HOME) $(BIN)/etchmark dashboard --port $(PORT); fi

dashboard: setup
	$(BIN)/etchmark dashboard --port $(PORT)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

test: setup
	$(PYTEST) -n $(JOBS)

test-slow: setup
	$(PYTEST) -n $(JOBS) -m slow

# Chromium and its driver are found on the path, or Selenium fetches them.
test-browser: setup
	$(BROWSER)
	$(PYTEST) -m browser tests/browser

# A registry of 10,000 submissions, made in some minutes, and how long its pages take in Chromium.
speed-dashboard: setup
	$(BROWSER)
	$(BIN)/python tests/performance/dashboard_speed.py .cache/large

# Peers and GPU are measured if they are there; ratios in one run, so that the machine cancels out.
speed: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[speed]'
	$(BIN)/python -m pytest tests/performance -m speed -s

results: setup
	for benchmark in superalloy-hardness composite-stiffness-2d composite-stiffness-3d composite-stiffness-3d-sections spinodal-forecast spinodal-forecast-10 grain-growth-forecast grain-growth-forecast-10; do $(BIN)/etchmark results run $$benchmark || exit; done

clean:
	rm -rf $(VENV) .cache runs dist
