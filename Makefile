# The project's commands. Each needs only Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

# All tests run four at a time: many wait for processes and deadlines. Those that ARGS choose (-k, a path) run in one
# process, which starts sooner; ARGS="-n 4 -k name" runs them four at a time, too.
SPREAD := $(if $(filter -k% tests/%,$(ARGS)),,-n 4 --dist worksteal)

# The files of those that compare the CPU of two ways. Four at a time they would measure their neighbours: they come after.
ALONE = $(if $(filter -k% -m% tests/%,$(ARGS)),,$(shell grep -rl 'mark\.alone' tests --include='test_*.py'))

# Every test process reads the compiled modules of the one before.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up test test-browser test-containers long bench bench-books lint style types contracts format sql pages catalogue catalogue-update catalogue-age lock clean

help:  ## say what each target does
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(RUNTIME)  ## set up and run everything; ARGS="--port 9000" passes options on
	@exec $(BIN)/tokn up $(ARGS)

test: $(DEV)  ## set up and pass the tests; ARGS="-k name" passes options on
	$(BIN)/pytest $(SPREAD) $(ARGS)
	$(if $(ALONE),$(BIN)/pytest -m alone $(ALONE) $(ARGS))

test-browser: $(DEV)  ## its own pages, the console's, and those of other origins, in a headless Chromium, which must be on the path or in TOKN_TEST_CHROMIUM
	$(BIN)/pytest -m browser tests/system $(ARGS)

test-containers: $(DEV)  ## the tests' servers in containers, and compose.yaml; needs an engine, compose and debootstrap
	@docker info >/dev/null || { echo "no container engine answers: start one, or use make test"; exit 1; }
	tests/images/build
	TOKN_TEST_SERVERS=containers $(BIN)/pytest -k "not sqlite" tests/runtime tests/ledger tests/system/test_roles.py $(ARGS)
	$(BIN)/pytest -m containers $(ARGS)

long: $(DEV)  ## all that is marked long: faults, races, lost and corrupted streams at full size (hours); ARGS="-k books" passes options on
	$(BIN)/pytest -s -m long $(ARGS)

bench: $(DEV)  ## CPU a request, summed over the processes, plain and streamed; ARGS="--profile" says where it goes
	$(BIN)/python -m tests.bench.requests $(ARGS)

bench-books: $(DEV)  ## authorisations and settlements a second behind a real bus; ARGS="--database postgresql --ledgers 2" for others
	$(BIN)/python -m tests.ledger.bench.stream $(ARGS)

lint: style types contracts  ## style, types, import contracts

style: $(DEV)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)  ## mypy, strict
	$(BIN)/mypy

contracts: $(DEV)  ## who may import whom
	$(BIN)/lint-imports --no-logo

format: $(DEV)  ## put the style right where ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

sql: $(DEV)  ## compile the reads and migrations of ledger/store/declared for both databases
	$(BIN)/python -m ledger.store.declared.compile

pages: $(DEV)  ## compile the edge's public pages and its OpenAPI document
	$(BIN)/python -m edge.site.declared.compile

catalogue: $(DEV)  ## remake the models' rows and prices from the inputs in the repository, and print the report; WHY="…" accepts what differs
	$(BIN)/python -m tools.catalogue $(if $(WHY),--accept "$(WHY)") $(ARGS)

catalogue-update: $(DEV)  ## the same from the packages that catalogue.lock names; DAY=2026-12-31 says of which day; needs npm
	$(BIN)/python -m tools.catalogue --update $(DAY) $(if $(WHY),--accept "$(WHY)") $(ARGS)

catalogue-age: $(DEV)  ## fail if the catalogue, or what was read by hand, is too old for a release; DAY=2026-12-31 asks for that day
	$(BIN)/python -m tools.catalogue --age $(or $(DAY),$(shell date -u +%F))

lock: $(DEV)  ## pin the newest versions, with hashes
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --group dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 -c requirements-dev.lock pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 -c requirements-dev.lock --extra stripe pyproject.toml -o requirements-stripe.lock
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 tests/system/frameworks/requirements.in -o tests/system/frameworks/requirements.lock

clean:  ## remove caches and what was built; the environment in .venv and the data in .tokn stay
	rm -rf .build build dist wheels *.egg-info .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -path ./.venv -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): $(BIN)/pip requirements.lock pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -c "import pathlib, sysconfig; pathlib.Path(sysconfig.get_path('purelib'), 'tokn-checkout.pth').write_text(str(pathlib.Path.cwd()) + '\n')"
	@printf '#!%s\nimport sys\nfrom tokn.__main__ import main\nsys.exit(main())\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/tokn && chmod +x $(BIN)/tokn
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.lock
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@touch $@
