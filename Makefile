# `make demo` and `make test` need nothing but Python with venv, make and git: each does its own set-up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Of the packages only a fraction is ever imported: what is, is compiled then.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile
# pip learned dependency groups in 25.1.
NEWER_PIP := $(PIP) --upgrade 'pip>=25.1'

# Without bytecode files each of the hundreds of processes of the tests would compile all of its modules.
unexport PYTHONDONTWRITEBYTECODE

# Many tests wait for clocks and processes: one worker more than there are cores keeps these busy.
WORKERS := $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

.PHONY: demo test test-slow lint types bench docs reference packages packages-test clean
.DEFAULT_GOAL := help

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/installed  ## Plan, compare and apply on the built-in demo cluster
	$(BIN)/proxlb-plan plan --demo --solver greedy
	$(BIN)/proxlb-plan plan --demo --solver cpsat --max-migrations 6 --time-limit 8
	$(BIN)/proxlb-plan compare --demo --max-migrations 6 --time-limit 8
	$(BIN)/proxlb-plan apply --demo --yes --max-migrations 6 --time-limit 8

# Types are checked beside the tests, as these wait now and then. Tests are compiled once, not once by each worker.
test: lint  ## All tests, lint and types
	@$(BIN)/mypy & types=$$!; \
	[ -d tests/__pycache__ ] || $(BIN)/python -m pytest --collect-only > /dev/null; \
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist worksteal; tests=$$?; \
	wait $$types && exit $$tests

test-slow: $(VENV)/tested  ## Tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/tested
	$(BIN)/mypy

bench: $(VENV)/tested  ## Measure the solvers: make bench ARGS="--limit 20 FILE..."
	$(BIN)/python -m tests.bench $(ARGS)

# packaging/ has how formulas are shown.
docs: export PYTHONPATH = packaging
docs: $(VENV)/tested  ## Build the documentation site into build/site
	rm -rf build/site
	$(BIN)/zensical build --strict --clean

reference: $(VENV)/installed  ## Write the pages of docs/ that are made from the program
	$(BIN)/python packaging/reference.py

packages: $(VENV)/tested  ## Build .deb, .rpm, image, wheel and sdist into dist
	$(BIN)/python packaging/build.py

packages-test: $(VENV)/tested  ## Try the packages of dist in clean systems, and build them once more
	$(BIN)/python packaging/check.py

clean:  ## Remove what the targets above have made
	rm -rf $(VENV) dist build .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is too old: Python 3.11 or newer is needed (make PYTHON=python3.12 ...)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(NEWER_PIP)
	@touch $@

$(VENV)/installed: pyproject.toml tests/constraints.txt $(VENV)/made
	$(PIP) --constraint tests/constraints.txt --editable .
	@touch $@

$(VENV)/tested: $(VENV)/installed
	$(PIP) --constraint tests/constraints.txt --group test
	@touch $@
