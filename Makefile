# The commands, with what they do: make help
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
# An environment that is ready, such as a container's, is named by GAD_ENVIRONMENT; else .venv is made here.
ENVIRONMENT := $(or $(GAD_ENVIRONMENT),$(CURDIR)/.venv)
BIN := $(ENVIRONMENT)/bin
export PATH := $(BIN):$(PATH)
# Packages are compiled at their first import, and that is kept: every stage is a process and would do it again. The
# installation compiles none (--no-compile): that would take over a minute, and stages import a quarter of them.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help repro repro-all ablations report test types suite lab prove doctor docs lock environment

help:
	@echo 'make repro          environment, main job, reports/index.html; 16 minutes on 2 cores'
	@echo 'make test           environment, lint, types, the smoke recipe through every stage, tests; 6 minutes on 2 cores'
	@echo '                    every chain of stages: pytest -m slow'
	@echo 'make lab            the notebooks, live'
	@echo 'make report         the report pages again'
	@echo 'make repro-all      every recipe and seed: hours'
	@echo 'make ablations [NAMES="weight window"] [QUICK=1] [JOBS=2]   queued as experiments, tables in results/ablations'
	@echo 'make prove BASE=HEAD   whether code changes left the numbers of smoke and swiss_roll as they were; then the locks'
	@echo 'make doctor RECIPE=pixart_tdm   what a recipe lacks on this machine'
	@echo 'make docs           the site, in site/; warnings and dead links are errors; a minute'

repro: environment
	@python pipelines/repro.py

repro-all: environment
	@python pipelines/repro.py --all

ablations: environment
	@python pipelines/ablate.py $(NAMES) $(if $(QUICK),--quick) $(if $(JOBS),--jobs $(JOBS))

report: environment
	@python pipelines/repro.py --single-item --force

test: environment
	@ruff check --quiet .
	@ruff format --check --quiet .
	@$(MAKE) --no-print-directory -j 2 types suite

types:
	@mypy --no-error-summary

suite:
	@OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadgroup -q -m "not slow"

prove: environment
	@python pipelines/prove.py $(if $(BASE),--base $(BASE)) --commit

doctor: environment
	@python pipelines/doctor.py $(RECIPE)

docs: $(if $(GAD_ENVIRONMENT),,.venv/.docs)
	@NO_MKDOCS_2_WARNING=1 python -m mkdocs --quiet build --strict
	@echo "site/index.html"

.venv/.docs: .venv/.installed
	@$(BIN)/python -m pip install --quiet --no-compile --editable ".[docs]"
	@touch $@

lock:
	@uv pip compile pyproject.toml --quiet --extra dev --extra docs --python-version 3.11 --no-annotate \
		--no-emit-index-url --no-header --output-file requirements.lock
	@sed -i '1i # Every version of the environment (Linux, Python 3.11), the extras dev and docs included. Made by: make lock' \
		requirements.lock

lab: environment
	@jupyter lab

environment: $(if $(GAD_ENVIRONMENT),,.venv/.installed)

.venv/.installed: pyproject.toml
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 is needed and was not found; name it with: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into .venv (one to two minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --no-compile --editable ".[dev]"
	@touch $@
