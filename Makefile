# Every command of the project. `make help` lists them. Each makes what it needs, from a clean checkout on.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install demo demo-quick models test test-all laws lint results bench bench-adapterhub format clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "foreword needs Python 3.11 or newer, and '$(PYTHON)' is not. Name one: make PYTHON=python3.12 install" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# A stamp is younger than the files that say what to install; pip runs again only when one of those changes.
.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) install -q -c constraints.txt -e '.[eval]'
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) install -q -c constraints.txt -e '.[eval,serve,test,lint,peft]'
	@touch $@

.venv/.installed-bench: .venv/.installed
	$(PIP) install -q -c constraints.txt -e '.[eval,peft]'
	@touch $@

install: .venv/.installed ## .venv with foreword and its evaluation extra

demo: .venv/.installed ## the main job on real data, under 5 minutes (ARGS=... is passed on)
	$(BIN)/foreword demo $(ARGS)

demo-quick: .venv/.installed ## the same in under 90 seconds
	$(BIN)/foreword demo --quick $(ARGS)

models: .venv/.installed ## fetch the pinned models and the reviews into the user's cache
	$(BIN)/foreword models pull minilm-l6 smollm2-135m-instruct
	$(BIN)/foreword data show reviews

test: .venv/.installed-dev ## the tests without the slow ones (ARGS=... is passed to pytest)
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-all: .venv/.installed-dev ## every test
	$(BIN)/python -m pytest $(ARGS)

laws: .venv/.installed-dev ## the tests of the laws without the slow ones, and how many pairs each holds for: results/laws.json
	FOREWORD_LAW_COUNTS=results/laws.json $(BIN)/python -m pytest -m "not slow" tests/contract $(ARGS)

lint: .venv/.installed-dev ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src
	$(BIN)/lint-imports

# The study and where a prompt stands are comparisons of their own.
RECORDED := $(filter-out results/study results/placement,$(patsubst %/,%,$(wildcard results/*/)))
results: .venv/.installed ## the tables of results/README.md, docs/study.md and other pages, from the recorded runs
	$(BIN)/foreword compare $(RECORDED) --allow-mixed --markdown results/README.md
	$(BIN)/foreword compare results/study --study docs/study.md
	($(BIN)/foreword compare $(RECORDED) --allow-mixed --json; $(BIN)/foreword compare results/placement --json) \
	  | $(BIN)/python scripts/tables.py

bench: .venv/.installed-bench ## speed against PEFT, about half an hour on a quiet machine (ARGS="--case mrpc-v2" for one case)
	$(BIN)/python -m benchmarks.run $(ARGS)

bench-adapterhub: .venv/.installed-bench ## the environment of the peer AdapterHub, in the user's cache, for `make bench`
	$(BIN)/python -m benchmarks.adapterhub.environment

format: .venv/.installed-dev ## rewrite the files the way `make lint` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv and every cache and build (not runs, not the user's cache of models)
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
