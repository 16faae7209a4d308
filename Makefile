# The developer's words. `make help` lists them; every one works from a clean clone (the environment is made first).
PYTHON ?= python3
BIN := .venv/bin
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
endif

.PHONY: help setup run check check-all format test train bench

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/'

setup:  ## make .venv with everything the developer needs
	@$(PYTHON) start.py setup

run: setup  ## open the studio
	@$(BIN)/python app.py

format: setup  ## let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	@$(PYTHON) start.py scripts --write

check: setup  ## format, lint, types, layers, the page's scripts, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(PYTHON) start.py scripts
	$(BIN)/pytest -q -m "not slow and not gpu and not browser" tests

check-all: check  ## check, and the slow and the browser tests
	$(PYTHON) start.py test -m "slow or browser"

test: setup  ## what CI runs
	$(PYTHON) start.py test

train: setup  ## the built-in model from nothing (hours; see training/README.md)
	$(BIN)/python -m training.train_autoencoder --hours 2
	$(BIN)/python -m training.encode_latents --count 24000
	$(BIN)/python -m training.train_unet --hours 8
	$(BIN)/python -m training.export
	$(BIN)/python -m training.train_tiny --hours 0.5
	$(BIN)/python -m training.export --tiny training/runs/tiny
	$(BIN)/python -m training.evaluate --contact-sheet
	$(BIN)/python -m training.make_sample

bench: setup  ## every benchmark; nothing else should run on the machine
	$(BIN)/python benchmarks/bench_start.py
	$(BIN)/python -m benchmarks.bench_engine
	$(BIN)/python -m benchmarks.bench_visitors
