# make app    set up and open Thaw
# make test   set up, with a browser, and run every test; JOBS=4 as so many processes
# make test-fast  in under 90 seconds, for while one works: what needs no process, no browser and no training
# make bench  measure, in under 20 minutes; WEIGHTS=vgg16.safetensors where no hub can be reached
# make pictures  take the pictures in docs/pictures again, from a real run, in about three minutes
PYTHON ?= python3
JOBS ?= 3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := app
.PHONY: app test test-fast lint bench pictures clean

app: $(VENV)/app.ok
	@$(BIN)/python -m ui.thaw app

# Tests start hundreds of processes; each would compile Thaw anew where PYTHONDONTWRITEBYTECODE is set.
test: $(VENV)/dev.ok
	@$(BIN)/python tools/browser.py
	@$(BIN)/python -m compileall -q learner ui pages benchmarks tools
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Files whose tests take less than a second each; the others start processes, train, or open a browser.
test-fast: $(VENV)/dev.ok
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests/ui tests/learner/datasets/test_layouts*.py \
	  tests/learner/datasets/test_sources.py tests/learner/datasets/test_tables.py tests/learner/datasets/test_duplicates.py \
	  tests/learner/datasets/test_images.py tests/learner/recipe/test_recipe.py \
	  tests/learner/recipe/test_recipe_written.py tests/learner/test_wording.py tests/learner/advice/test_coach.py \
	  tests/learner/evaluation/test_compare.py tests/learner/evaluation/test_paired.py

lint: $(VENV)/dev.ok
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python tools/audit.py

bench: $(VENV)/dev.ok
	@$(BIN)/python tools/browser.py
	@$(BIN)/python -m benchmarks $(if $(WEIGHTS),--weights $(WEIGHTS))

pictures: $(VENV)/dev.ok
	@$(BIN)/python tools/browser.py
	@$(BIN)/python tools/pictures.py

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Thaw needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/app.ok: requirements.txt | $(VENV)/bin/python
	@echo "Installing what Thaw needs; the first time takes some minutes."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python tools/web_runtime.py
	@touch $@

$(VENV)/dev.ok: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	@echo "Installing what Thaw and its tests need; the first time takes some minutes."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(BIN)/python tools/web_runtime.py
	@$(BIN)/python tools/litert_converter.py
	@touch $@ $(VENV)/app.ok
