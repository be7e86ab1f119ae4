# Each target does all of its own set-up: it needs Python 3.11 or newer, make and git, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TYPES := build/types
WEB_DEMO := build/web-demo

.PHONY: demo web-demo test quick full gpu lint clean

demo: $(STAMP)  ## export nano, verify it, remove an object from a photo; the picture is in demo/
	$(BIN)/moebius-edge demo --output demo

web-demo: $(STAMP)  ## nano in a page of its own: exports, packages, builds and serves it, and opens a browser; needs node and npm
	@command -v npm >/dev/null || { echo "web-demo needs node 20.19 or newer with npm (Debian: apt-get install nodejs npm)"; exit 1; }
	test -e $(WEB_DEMO)/nano.moebius || $(BIN)/moebius-edge export nano --output $(WEB_DEMO)/nano.moebius
	$(BIN)/moebius-edge package $(WEB_DEMO)/nano.moebius --platform web --output $(WEB_DEMO)/app --overwrite
	cd $(WEB_DEMO)/app && npm ci --ignore-scripts --no-audit --no-fund && npm run build
	$(BIN)/moebius-edge serve $(WEB_DEMO)/app --open

test: lint quick  ## what to run before a commit: lint and the quick tests

# A file's tests share what they make, so each process takes a file at a time; tests/conftest.py has the order.
PYTEST := $(BIN)/python -m pytest -q --durations=20
TWO := -n 2 --dist loadfile --no-loadscope-reorder

quick: $(STAMP)  ## the tests that need neither the full-size model nor a browser
	@echo "The quick tests: about 3 minutes on two cores; 2 more at first, for the graphs that are then kept in build/"
	@# One thread: small tensors are faster so, and torch sums in the same order every time.
	OMP_NUM_THREADS=1 $(PYTEST) $(TWO) -m "not full"

full: $(STAMP)  ## the tests of the full-size model, of nano, in a browser and in other languages, and other long ones
	@echo "The full-size model, nano, the browser and other languages: about 10 minutes on two cores, 5 GB of memory"
	OMP_NUM_THREADS=1 $(PYTEST) $(TWO) -m full

gpu: $(STAMP)  ## the tests that need a CUDA device; without one they are skipped, and say so
	$(BIN)/python -m pytest -q -m gpu

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# mypy does not follow the package mapping of an editable install: give it a tree of links.
	@rm -rf $(TYPES) && mkdir -p $(TYPES) && cp -rs "$(CURDIR)/moebius_edge" $(TYPES)/
	@for d in export calibration runtimes; do cp -rs "$(CURDIR)/$$d" $(TYPES)/moebius_edge/; done
	MYPYPATH=$(TYPES) $(BIN)/mypy -p moebius_edge

$(STAMP): pyproject.toml setup.py constraints.txt
	@echo "Installing into $(VENV): about 2 GB and some minutes, once; pip says nothing meanwhile"
	@# An environment that works is kept, even if python3 is another one today; half of one is made anew.
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist demo *.egg-info
