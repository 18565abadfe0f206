# make check   lint, types and the quick tests: within a minute
# make test    lint, types and the whole test suite
# make demo    the built-in data set: make, preprocess, train, evaluate, predict a clip
# make install the environment alone, in .venv (gpu=1: for trim=nvdec, dali=1: for trim=dali, app=1: for app=true)
# make mutants mutation testing, not a part of the tests (sample=600 seed=0, modules=sampling)
# All install what they need first. PYTHON=... chooses the interpreter.

VENV := .venv
BIN := $(VENV)/bin
comma := ,
EXTRAS := dev$(if $(gpu),$(comma)gpu)$(if $(dali),$(comma)dali)$(if $(app),$(comma)app)
INSTALLED := $(VENV)/installed$(if $(gpu),-gpu)$(if $(dali),-dali)$(if $(app),-app)

# The first interpreter between 3.10 and 3.13 that really runs.
FIND_PYTHON = for p in $(PYTHON) python3 python3.12 python3.13 python3.11 python3.10; do \
	if $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; \
	then echo $$p; exit; fi; done

.PHONY: install check test lint types browser mutants demo benchmark clean-demo

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
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

# The tests open the pages in a browser: the machine's own, or Debian's where it may be installed.
browser:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	command -v $$name >/dev/null && exit 0; done; \
	test -x "$$ASL_BROWSER" && exit 0; \
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; \
	then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium >/dev/null; fi \
	|| true; \
	command -v chromium >/dev/null || echo "no Chromium: tests in a browser are left out (apt-get install chromium)"

# The two processes of tests share the cores.
check test: export OMP_NUM_THREADS = 1

check: lint types
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow and not gpu"

test: lint types browser
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder # a file's tests share what they prepare

mutants: install
	$(BIN)/python -m pip install --quiet --editable '.[mutants]'
	$(BIN)/python tests/mutants.py --sample $(or $(sample),600) --seed $(or $(seed),0) $(modules)

demo: install
	$(BIN)/python -m asl.demo data/demo
	$(BIN)/python preprocess.py dataset=demo
	$(BIN)/python train.py experiment=demo resume=auto
	$(BIN)/python evaluate.py dataset=demo probe=all
	$(BIN)/python predict.py checkpoint=checkpoints/demo/best.pt \
	"input='$$(find data/demo/videos/test -name '*.mp4' | sort | head -n 1)'"
	@echo
	@echo "data         data/demo/{raw,videos,metadata}"
	@echo "model        checkpoints/demo/{best,last}.pt"
	@echo "results      checkpoints/demo/metrics.json, checkpoints/demo/evaluation/best-test"
	@echo "pages        data/demo/metadata/demo_report.html"
	@echo "             checkpoints/demo/evaluation/best-test/evaluation.html"

clean-demo:
	rm -rf data/demo checkpoints/demo

benchmark: install
	$(BIN)/python -m benchmarks.preprocess
