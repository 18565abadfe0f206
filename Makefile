# make test    lint, types and the whole test suite
# make demo    the built-in data set: make, preprocess, train, test
# make install the environment alone, in .venv (gpu=1: with DALI)
# Both install what they need first. PYTHON=... chooses the interpreter.

VENV := .venv
BIN := $(VENV)/bin
comma := ,
EXTRAS := dev$(if $(gpu),$(comma)gpu)

# The first interpreter between 3.10 and 3.13 that really runs.
FIND_PYTHON = for p in $(PYTHON) python3 python3.12 python3.13 python3.11 python3.10; do \
	if $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; \
	then echo $$p; exit; fi; done

.PHONY: install test lint types demo benchmark clean-demo

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	@python=$$($(FIND_PYTHON)); \
	test -n "$$python" || { echo "asl needs Python 3.10 to 3.13; name one: make PYTHON=/path/to/python3.12"; exit 1; }; \
	test -x $(BIN)/python || $$python -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	@touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

test: lint types
	$(BIN)/pytest

demo: install
	$(BIN)/python -m asl.demo data/demo
	$(BIN)/python preprocess.py dataset=demo
	$(BIN)/python train.py experiment=demo resume=auto
	@echo
	@echo "data         data/demo/{raw,videos,metadata}"
	@echo "model        checkpoints/demo/{best,last}.pt"
	@echo "results      checkpoints/demo/metrics.json"

clean-demo:
	rm -rf data/demo checkpoints/demo

benchmark: install
	$(BIN)/python -m benchmarks.preprocess
