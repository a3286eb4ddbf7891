# Every target sets up what it needs in .venv; a fresh machine needs Python 3.11, make and gcc.
PYTHON ?= $(firstword $(shell command -v python3 python3.11 2>/dev/null) python3)
VENV   := .venv
BIN    := $(VENV)/bin
# What boot and bench need, and what test and lint need besides.
USE    := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
RULES  := pyproject.toml $(wildcard setup.py)

.PHONY: setup boot test lint bench clean

setup: $(DEV)

$(USE): $(RULES)
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[kallsyms]'
	@touch $@

$(DEV): $(USE)
	@echo "adding the tools of test and lint to $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

boot: $(USE)
	@$(BIN)/emu boot

test: $(DEV)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(USE)
	@$(BIN)/python -m bench $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
