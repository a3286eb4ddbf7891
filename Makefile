# Every target sets up what it needs in .venv; a fresh machine needs Python 3.11, make and gcc.
PYTHON ?= $(firstword $(shell command -v python3 python3.11 2>/dev/null) python3)
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# What boot needs, and what the others need besides.
USE    := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
# Processes that share the tests. Tests of one file stay together until a process runs out of its own.
WORKERS ?= 2
RULES  := pyproject.toml $(wildcard setup.py)

# Modules are compiled once, also where the environment says otherwise: tests start some hundred processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup boot test test-all lint bench clean

setup: $(DEV)

$(USE): $(RULES)
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

$(DEV): $(USE)
	@echo "adding the tools of test, lint and bench to $(VENV)"
	@$(PIP) --editable '.[dev]'
	@touch $@

boot: $(USE)
	@$(BIN)/emu boot

TEST   := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

# All but the deep ones (tests/deep.py), within five minutes on two cores.
test: $(DEV)
	@$(TEST) -m "not deep" $(PYTEST_ARGS)

test-all: $(DEV)
	@$(TEST) $(PYTEST_ARGS)

lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(DEV)
	@$(BIN)/python -m bench --measured docs/measured.md $(BENCH_ARGS)
	@$(BIN)/python -m bench --readme

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
