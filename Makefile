# make grid   the default study on real MNIST: tables in results/lenet-quick, figures in plots/
# make report the figures and reports of every study in results/
# make test   the tests
# Each sets itself up on a fresh machine with Python 3.11 or later.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STUDY ?= lenet-quick

.PHONY: help setup grid figures report test lint clean

help:
	@sed -n 's/^# //p' Makefile

setup: $(VENV)/.ready

$(VENV)/.ready: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name it with make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

grid: setup
	$(BIN)/python experiments/run_grid.py $(STUDY)
	$(BIN)/python experiments/make_figures.py $(STUDY)

figures: setup
	$(BIN)/python experiments/make_figures.py

report: setup
	$(BIN)/python experiments/report.py

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check lottery experiments tests
	$(BIN)/ruff format --check lottery experiments tests
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
