# `make` alone lists the commands.
PYTHON ?= python3
REGISTRATION ?= 2020387499
DATA ?= auto
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.PHONY: help notebook install run bench test test-faults test-colab test-package clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

notebook: .venv/.small  ## the hand-in for REGISTRATION (2020387499), into this folder; needs no TensorFlow
	.venv/bin/headstart notebook $(REGISTRATION)

install: .venv/.installed  ## make .venv with .venv/bin/headstart

run: .venv/.installed  ## the whole practical for REGISTRATION (2020387499) on DATA (auto), into runs/
	.venv/bin/headstart run $(REGISTRATION) --data $(DATA)

test: .venv/.dev  ## all checks and tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-faults: .venv/.dev  ## a kill and a full disk at every file operation, 100 kills of a study: about an hour
	.venv/bin/pytest -m slow --timeout 0

bench: .venv/.installed  ## side by side with a plain Keras script; QUICK=1 takes minutes, DATA names the images
	.venv/bin/python benchmarks/bench.py --data $(DATA) $(if $(QUICK),--quick)

test-colab: .venv/.dev .venv-colab/.installed  ## run the notebook on the versions that Colab has
	HEADSTART_COLAB=$(CURDIR)/.venv-colab .venv/bin/pytest tests/notebook/test_colab.py

test-package: .venv/.dev  ## build the wheel and the source archive, install each into an empty environment, and run it
	.venv/bin/pytest tests/test_distribution.py -m package --timeout 0

clean:  ## remove the environment and what the tools left
	rm -rf .venv .venv-colab .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "headstart needs Python 3.11, 3.12 or 3.13, as PYTHON=python3.x; $(PYTHON) is `$(PYTHON) --version`" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.small: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) .
	@touch $@

.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) '.[cpu,notebook,study,tune]'
	@touch $@

.venv/.dev: .venv/.installed
	$(PIP) '.[cpu,notebook,study,tune,dev]'
	@touch $@

.venv-colab/.installed: constraints-colab.txt
	$(PYTHON) -m venv .venv-colab
	.venv-colab/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-colab.txt \
		tensorflow-cpu keras pandas scipy scikit-learn matplotlib pillow jinja2 ipykernel nbclient
	@touch $@
