# Two commands do all set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint bench validity clean

$(READY): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("framepack-bench needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	touch $(READY)

demo: $(READY)
	$(BIN)/python run_bench.py stage=demo +ablation=demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

# All parts run, whatever one of them finds; the status says whether all claims held.
bench: $(READY)
	@held=0; for part in bench.speed reports.speed metrics.speed "metrics.speed --set paper"; do \
		echo "python -m $$part"; $(BIN)/python -m $$part || held=1; echo; \
	done; exit $$held

validity: $(READY)
	$(BIN)/python -m metrics.validity

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV)
