# Everything a developer or a pipeline does with this repository. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= outputs/demo
# the run that `make audit` looks at; empty for a small simulated one that it trains itself
RUN ?=
AUDITED := $(or $(RUN),outputs/audit)
# Files in the order of tests/conftest.py, those with slow tests first, and not by their numbers of
# tests; a worker holds up to 2 GB.
WORKERS ?= -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
PYTEST_ARGS ?=
NOTEBOOKS := $(wildcard notebooks/*.py)
BENCHMARKS := $(wildcard benchmarks/*.py)

# One thread a process: the arrays of the tests are small, and processes share the cores.
export OMP_NUM_THREADS ?= 1

.PHONY: help install demo audit test test-all lint types notebooks bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## Create the virtual environment in VENV (default .venv) and install into it

# Runs again only when what is to be installed has changed.
$(STAMP): pyproject.toml constraints.txt
	@if command -v uv > /dev/null; then \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" "$(VENV)"; \
	  UV_FIND_LINKS="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-}}" \
	    uv pip install --python "$(BIN)/python" -c constraints.txt -e ".[receptors,landmarks,cytometry,survival,ray,slurm,dev]"; \
	else \
	  "$(PYTHON)" -m venv "$(VENV)"; \
	  "$(BIN)/python" -m pip install -c constraints.txt -e ".[receptors,landmarks,cytometry,survival,ray,slurm,dev]"; \
	fi
	@touch "$(STAMP)"

demo: $(STAMP) ## Simulate a cohort, train, evaluate, write the report, embed two new patients
	$(BIN)/python train.py experiment=demo paths.run=$(DEMO)
	$(BIN)/python evaluate.py run=$(DEMO)
	$(BIN)/python embed.py run=$(DEMO) data=simulated data.reader.patients=2 seed=1 \
	  output=$(DEMO)/new_patients.h5mu
	@$(BIN)/python -c 'import json, sys; claim = json.load(open(sys.argv[1]))["claim"]; \
	  print("\nThe demo is done. It found:", claim["headline"] + ".", claim["text"])' $(DEMO)/report.json
	@printf '  report:        %s\n  new patients:  %s\n' \
	  "$(DEMO)/report.html" "$(DEMO)/new_patients.predictions.csv"

audit: $(STAMP) ## Look for leaks in the run RUN, or in a small simulated one; fails where one is found
	$(if $(RUN),,$(BIN)/python train.py experiment=quick name=audit data.folds.k=5 paths.run=$(AUDITED))
	$(BIN)/python evaluate.py run=$(AUDITED) audit=full
	@$(BIN)/python -c 'import json, sys; audit = json.load(open(sys.argv[1])); \
	  lines = ["{severity:8} {code:12} {what}".format(**own) for own in audit["findings"]]; \
	  print("", *lines, "The worst that the audit found: " + audit["worst"], sep="\n"); \
	  sys.exit(audit["worst"] == "leak")' $(AUDITED)/audit.json

test: $(STAMP) ## Run the fast tests; those on real data need RECART_REAL_DATA
	$(BIN)/python -m pytest -m "not slow" $(WORKERS) $(PYTEST_ARGS)

test-all: $(STAMP) ## Run all tests, an hour on two cores
	$(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

lint: $(STAMP) ## Check style, formatting, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

types: $(STAMP) ## Check types only
	$(BIN)/mypy

notebooks: $(STAMP) ## Execute the notebooks; the results lie beside their sources as .ipynb
	@for source in $(NOTEBOOKS); do \
	  echo "executing $$source"; \
	  $(BIN)/jupytext --quiet --to ipynb "$$source"; \
	  $(BIN)/jupyter-execute --inplace "$${source%.py}.ipynb"; \
	done

bench: $(STAMP) ## Run the benchmarks: one script a claim
	@for script in $(BENCHMARKS); do $(BIN)/python "$$script"; done

clean: ## Remove caches and build products, not the environment and not the outputs
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
