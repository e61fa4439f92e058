# Everything a person or CI does with this repository. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.ONESHELL:
MAKEFLAGS += --no-print-directory --no-builtin-rules

VENV ?= .venv
BIN := $(VENV)/bin
# The staging engine has a venv of its own: its pins fight with the app's.
VLLM_VENV := .venv-vllm
MODELS := .mangaops/models
# ARGS goes to the program behind a target:  make run ARGS="--port 9000"   make test ARGS="-k slo"
ARGS ?=
# The first of these that runs and is new enough; `make setup PYTHON=/path/to/python` overrides it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# A stamp is named after what it was installed from, so a second `make run` has nothing to do.
key = $(shell cat requirements/uv.txt requirements/$(1).txt pyproject.toml Makefile | sha256sum | cut -c1-16)
RUN := $(VENV)/.run-$(call key,run)
DEV := $(VENV)/.dev-$(call key,dev)
STAGING := $(VENV)/.staging-$(call key,staging)
ENGINE := $(VLLM_VENV)/.engine-$(call key,vllm)

# uv is fast; pip reads the mirrors, proxies and certificates of pip's own configuration. Both insist on hashes.
install = if $(BIN)/uv --version >/dev/null 2>&1 && $(BIN)/uv pip install --quiet --python $(BIN)/python $(1); then :; \
	else echo "uv could not install; trying pip" >&2; $(BIN)/python -m pip install --quiet --disable-pip-version-check $(1); fi

.PHONY: help setup run staging-setup drill check test bench golden lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

setup: $(RUN) $(DEV) ## create .venv with everything to run, check and test

run: $(RUN) ## start the collector and the console; with nothing configured, on a bundled recording
	@exec $(BIN)/mangaops up $(ARGS)

staging-setup: $(STAGING) $(ENGINE) $(MODELS)/made-from ## install what staging needs: real vLLM for the CPU and its generated model

drill: staging-setup ## run the smoke drill against the real staging stack; its certificate lands in .mangaops/drills
	@exec $(BIN)/mangaops drill run smoke $(ARGS)

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

# Bytecode is left to the first import of `make run`: that starts two processes. Tests and
# staging start dozens, some where Python may not write bytecode; they compile all of it first.
$(RUN): | $(BIN)/python $(BIN)/uv
	@echo "Installing the pinned requirements"
	$(call install,--require-hashes -r requirements/run.txt)
	$(call install,--no-deps --no-build-isolation --editable .)
	rm -f $(VENV)/.run-*
	touch $@

$(STAGING) $(ENGINE) $(DEV): private export UV_COMPILE_BYTECODE := 1

$(STAGING): | $(RUN)
	@echo "Installing what the staging stack needs"
	$(call install,--require-hashes -r requirements/staging.txt)
	rm -f $(VENV)/.staging-*
	touch $@

# Wheels for the CPU are built for one Python and one kind of machine. uv does not read pip's PIP_FIND_LINKS.
$(ENGINE): | $(BIN)/uv
	@echo "Installing vLLM for the CPU into $(VLLM_VENV)"
	$(BIN)/python -c 'import platform, sys; sys.exit((sys.version_info[:2], platform.machine()) != ((3, 11), "x86_64"))' || { \
	  echo "The pinned engine is for Python 3.11 on x86-64 Linux. Start an engine elsewhere and use:  mangaops drill run capacity --engine URL" >&2; exit 1; }
	$(BIN)/python -m venv --clear $(VLLM_VENV)
	if $(BIN)/uv --version >/dev/null 2>&1 && UV_FIND_LINKS="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-}}" \
	  $(BIN)/uv pip install --quiet --python $(VLLM_VENV)/bin/python --no-deps --require-hashes -r requirements/vllm.txt; then :; \
	elif $(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/vllm.txt; then :; \
	else echo "PyTorch's CPU build is on no common index: set PIP_EXTRA_INDEX_URL (or PIP_FIND_LINKS) to where you get it" >&2; exit 1; fi
	touch $@

$(MODELS)/made-from: loadtests/staging/model.py loadtests/phrases.yaml $(wildcard loadtests/staging/gateway/prompts/*.yaml) | $(ENGINE)
	@echo "Generating the staging model"
	HF_HUB_DISABLE_PROGRESS_BARS=1 $(VLLM_VENV)/bin/python loadtests/staging/model.py --out $(MODELS)
	touch $@

$(DEV): | $(RUN)
	@echo "Installing the tools that check and test"
	$(call install,--require-hashes -r requirements/dev.txt)
	rm -f $(VENV)/.dev-*
	touch $@
