# Two commands do everything: `make search` runs the main job, `make test` runs all that CI runs.
# They need Python 3.11 or later, make and a C compiler; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN_DIR ?=
WORKERS ?= 2

.PHONY: search test check format unit docs wheel clean help

help:
	@echo "make search   install into $(VENV), then search for a digits network and explain it (about 5 minutes)"
	@echo "make test     the same environment, then all that CI runs"
	@echo "make check    ruff, mypy, import directions"
	@echo "make unit     the quick tests"
	@echo "make docs     the documentation site, into docs/_build/html; warnings are errors"

$(READY): pyproject.toml
	$(PYTHON) -c "import sys; sys.exit('nas-gym needs Python 3.11 or later') if sys.version_info < (3, 11) else None"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $(READY)

search: $(READY)
	$(BIN)/nas-gym search $(if $(RUN_DIR),--run-dir $(RUN_DIR))

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_imports.py

unit: $(READY)
	$(BIN)/pytest -q -m "not slow"

test: check
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal
	$(MAKE) wheel

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -q -c docs . docs/_build/html
	@echo "look at docs/_build/html/index.html"

wheel: $(READY)
	PYTHON=$(abspath $(BIN)/python) bash scripts/check_wheel.sh

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) dist build docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
