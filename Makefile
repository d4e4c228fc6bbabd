# Nothing is needed beforehand but Python ≥ 3.11 with venv. PYTHON=… names another one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint docs clean

demo: $(READY)
	$(BIN)/regard demo translate runs/demo

test: $(READY) lint
	$(BIN)/python -m pytest -q

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in site/index.html; it can be read from the disk.
docs: $(READY)
	$(BIN)/mkdocs build --quiet --strict

$(READY): pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/regard/kernels/cpu/native/*)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "regard needs Python 3.11 or newer, this is %d.%d" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build dist runs site .mypy_cache .pytest_cache .ruff_cache .hypothesis
