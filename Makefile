# `make demo` and `make test` do all their own set-up; a second call installs nothing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed
# No framework reports home from here.
export GX_ANALYTICS_ENABLED=false BENTOML_DO_NOT_TRACK=true DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false

.PHONY: help setup demo serve test lint bench bench-features bench-serving bench-models bench-ops lock clean
help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY)  ## the virtual environment, from the lock

demo: $(READY)  ## real shop data to live recommendations, in one go
	$(BIN)/kairos demo

serve: $(READY)  ## the service, on http://127.0.0.1:3000
	$(BIN)/kairos serve

# Two at a time: many tests wait for processes that start. `pytest` alone runs one after the other. Threads that wait for
# work would spin and take the cores from those that have some: a third of the time of a training.
test: $(READY)  ## all tests
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY)  ## ruff, mypy, the import table
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## measure; writes reports/bench.json
	$(BIN)/python -m benchmarks.online

bench-features: $(READY)  ## measure the feature platform, half an hour; writes reports/features.json
	$(BIN)/kairos ingest --connector complete-journey
	$(BIN)/python -m benchmarks.features

bench-serving: $(READY)  ## measure the service under load, an hour, after make demo; writes reports/serving.json
	$(BIN)/python -m benchmarks.serving

bench-ops: $(READY)  ## measure how the platform runs by itself, five hours, after make demo; writes reports/ops.json
	$(BIN)/python -m benchmarks.ops

bench-models: $(READY)  ## measure the models on the public sets under KAIROS_DATASETS, hours; writes reports/models.json
	$(BIN)/python -m benchmarks.models

lock:  ## resolve pyproject.toml anew into requirements.lock
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile pyproject.toml --all-extras --python-version 3.11 --no-header --no-annotate --quiet -o $(VENV)-lock/resolved
	@head -n 3 requirements.lock > $(VENV)-lock/new
	@sed 's/^\(torch==[0-9.]*\)+cpu/\1/' $(VENV)-lock/resolved | grep -vE '^(nvidia-(c|n)[a-z]+|cuda-|triton)' >> $(VENV)-lock/new
	@mv $(VENV)-lock/new requirements.lock && rm -rf $(VENV)-lock

clean:  ## remove the environment, the data and the reports
	rm -rf $(VENV) .kairos reports
