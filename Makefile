# Every target does the set-up first, when it is not done yet. More arguments: make train ARGS='seed=1'
PYTHON ?= python3
ARGS ?=

VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
VAE := $(BIN)/python -m vae_experiments

.PHONY: help setup train smoke sweep ui test test-browser test-faults test-services bench docs lint clean
.DEFAULT_GOAL := help

help: ## this list
	@echo "usage: make TARGET [ARGS='...']     make setup [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make or update .venv, and nothing else
	@echo ".venv is ready."

train: $(READY) ## train the default experiment; ARGS are its overrides
	@$(VAE) train $(ARGS)

smoke: $(READY) ## train for a few seconds on the bundled digits
	@$(VAE) train experiment=smoke $(ARGS)

sweep: $(READY) ## a small sweep: four models side by side, compared; ARGS are more overrides
	@$(VAE) train -m experiment=smoke architecture.latent_dim=2,8 objective.kl_weight=1,4 $(ARGS)

ui: $(READY) ## open the MLflow UI on the runs made here
	@$(VAE) ui $(ARGS)

test: $(READY) ## run the tests; ARGS='-k csv' for some of them
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-faults: $(READY) ## kill a sweep at twenty random moments, resume it each time, and count what is there
	@$(BIN)/python tests/faults/campaign.py $(ARGS)

test-services: $(READY) ## as root on Debian: sweeps through a real Slurm, PostgreSQL and MLflow server
	@tests/services/setup.sh
	@$(BIN)/python -m pytest -p no:xdist tests/services $(ARGS)

test-browser: $(READY) ## MLflow's pages and ours in a real chromium, installed where it is missing
	@tests/browser/setup.sh
	@$(BIN)/python -c 'import playwright' 2>/dev/null || $(BIN)/pip install -qq -c constraints.txt -e '.[browser]'
	@$(BIN)/python -m pytest -p no:xdist tests/browser $(ARGS)

bench: $(READY) ## set beside what people use, for 40 minutes: writes docs/benchmarks.md; ARGS=start a section, --quick looks
	@$(BIN)/python benchmarks/bench.py $(ARGS)

docs: $(READY) ## write docs/keys.md anew, from the classes and the files of conf/
	@$(BIN)/python tools/document_keys.py

lint: $(READY) ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m mypy

clean: ## remove .venv and all caches; what runs have made stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment whose interpreter has gone (Python upgraded, checkout copied to another machine) is not ready.
ifeq ($(wildcard $(BIN)/python),)
.PHONY: $(READY)
endif

$(READY): pyproject.toml constraints.txt tools/set_up.py
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) not found. Install Python 3.11 to 3.13, or name yours: make setup PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) tools/set_up.py
