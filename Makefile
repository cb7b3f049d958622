# make run    start Tiebreak on http://127.0.0.1:7860 (sets everything up the first time)
# make test   run every test, browser included
# make lint   formatting, lint, types, import contract
# make bench  measure speed and memory of merging
# make readme retake its pictures and refill its tables
# make clean  remove what these made; keeps your jobs in .tiebreak/

export GRADIO_SERVER_NAME ?= 127.0.0.1
export GRADIO_SERVER_PORT ?= 7860
export GRADIO_ANALYTICS_ENABLED ?= False
export HF_HUB_DISABLE_TELEMETRY ?= 1
export TIEBREAK_HOME ?= $(CURDIR)/.tiebreak

PYTHON := .venv/bin/python

.PHONY: run test lint bench readme clean
.DELETE_ON_ERROR:

run: .venv/ready
	@exec $(PYTHON) app.py

test: .venv/ready-to-develop
	@sh tools/browser.sh
	@$(PYTHON) -m pytest

lint: .venv/ready-to-develop
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: .venv/ready-to-develop
	@$(PYTHON) -m tests.benchmarks

readme: .venv/ready-to-develop
	@sh tools/browser.sh
	@$(PYTHON) tools/pictures.py
	@$(PYTHON) tools/readme.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/ready: requirements.txt tools/environment.sh
	@sh tools/environment.sh requirements.txt
	@touch $@

.venv/ready-to-develop: requirements-dev.txt .venv/ready
	@sh tools/environment.sh requirements-dev.txt
	@touch $@
