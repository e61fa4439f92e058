# Everything a person or CI does with this repository. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.ONESHELL:
MAKEFLAGS += --no-print-directory --no-builtin-rules

VENV ?= .venv
BIN := $(VENV)/bin
# ARGS goes to the program behind a target:  make run ARGS="--port 9000"   make test ARGS="-k slo"
ARGS ?=
# The first of these that runs and is new enough; `make setup PYTHON=/path/to/python` overrides it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# A stamp is named after what it was installed from, so a second `make run` has nothing to do.
key = $(shell cat requirements/uv.txt requirements/$(1).txt pyproject.toml Makefile | sha256sum | cut -c1-16)
RUN := $(VENV)/.run-$(call key,run)
DEV := $(VENV)/.dev-$(call key,dev)

# uv is fast; pip reads the mirrors, proxies and certificates of pip's own configuration. Both insist on hashes.
install = if $(BIN)/uv --version >/dev/null 2>&1 && $(BIN)/uv pip install --quiet --python $(BIN)/python $(1); then :; \
	else echo "uv could not install; trying pip" >&2; $(BIN)/python -m pip install --quiet --disable-pip-version-check $(1); fi

.PHONY: help setup run drill check test bench golden lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: $(RUN) $(DEV) ## create .venv with everything to run, check and test

run: $(RUN) ## start the collector and the console; with nothing configured, on a bundled recording
	@exec $(BIN)/mangaops up $(ARGS)

drill: $(RUN) ## replay the bundled GPU drill and judge it as time passes (no staging stack yet)
	@store=$$(mktemp -d "$${TMPDIR:-/tmp}/mangaops-drill.XXXXXX")
	echo "This release has no staging stack to load. It replays a drill recorded on a real GPU engine instead:"
	echo "  mangaops replay loadtests/recordings/h200_release_drill --store $$store --clock-scale 20"
	exec $(BIN)/mangaops replay loadtests/recordings/h200_release_drill --store "$$store" --clock-scale 20 $(ARGS)

check: $(DEV) ## lint, format, types, import contracts, and the locks against pyproject.toml
	@faults=0 # every tool has its say before the target fails
	$(BIN)/ruff check --no-cache . || faults=1
	$(BIN)/ruff format --no-cache --check . || faults=1
	$(BIN)/mypy || faults=1
	$(BIN)/lint-imports --no-logo || faults=1
	$(BIN)/python requirements/lock.py --check || faults=1
	exit $$faults

test: $(DEV) ## every test; those in a browser need Debian's chromium and are skipped without it
	@$(BIN)/python -m pytest $(ARGS)

bench: $(DEV) ## measure what the project promises about its own speed
	@$(BIN)/python -m tests.bench $(ARGS)

golden: $(DEV) ## rewrite the expected outputs in tests/golden; review the difference before you commit it
	@$(BIN)/python -m tests.golden $(ARGS)

lock: $(DEV) ## compile requirements/*.txt from pyproject.toml (ARGS=--upgrade for the newest versions)
	@$(BIN)/python requirements/lock.py $(ARGS)

clean: ## remove .venv, caches and build output; kept facts stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------ the environment
$(BIN)/python:
	@[[ -n "$(PYTHON)" ]] || { echo "Python 3.11 or newer is needed.  Install it:  sudo apt-get install python3 python3-venv" >&2; exit 1; }
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot create virtual environments.  Install what is missing:" >&2; \
	  echo "  sudo apt-get install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }
	echo "Creating $(VENV) with $$($(PYTHON) --version)"
	$(PYTHON) -m venv --clear $(VENV)

$(BIN)/uv: | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt \
	  || echo "uv could not be installed; pip takes its place" >&2

# Bytecode is left to the first import: compiling all of it ahead costs 8 s and saves 1 s.
$(RUN): | $(BIN)/python $(BIN)/uv
	@echo "Installing the pinned requirements"
	$(call install,--require-hashes -r requirements/run.txt)
	$(call install,--no-deps --no-build-isolation --editable .)
	rm -f $(VENV)/.run-*
	touch $@

$(DEV): | $(RUN)
	@echo "Installing the tools that check and test"
	$(call install,--require-hashes -r requirements/dev.txt)
	rm -f $(VENV)/.dev-*
	touch $@
