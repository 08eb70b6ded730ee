# The project's commands. Each needs only Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

.PHONY: up test test-containers chaos bench-books lint format types contracts bench lock clean

up: $(RUNTIME)  ## set up and run everything; ARGS="--port 9000" passes options on
	@exec $(BIN)/tokn up $(ARGS)

test: $(DEV)  ## set up and pass the tests; ARGS="-k name" passes options on
	$(BIN)/pytest $(ARGS)

test-containers: $(DEV)  ## the tests' servers in containers, and compose.yaml; needs an engine, compose and debootstrap
	@docker info >/dev/null || { echo "no container engine answers: start one, or use make test"; exit 1; }
	tests/images/build
	TOKN_TEST_SERVERS=containers $(BIN)/pytest -k "not sqlite" tests/runtime tests/ledger tests/system/test_roles.py $(ARGS)
	$(BIN)/pytest -m containers $(ARGS)

chaos: $(DEV)  ## everything marked long: faults, races, lost and corrupted streams at full size (hours); ARGS="-k books" passes options on
	$(BIN)/pytest -s -m long tests/chaos tests/ledger tests/system $(ARGS)

bench: $(DEV)  ## CPU a request, summed over the processes, plain and streamed; ARGS="--profile" says where it goes
	$(BIN)/python -m tests.bench.requests $(ARGS)

bench-books: $(DEV)  ## authorisations and settlements a second behind a real bus; ARGS="--database postgresql --ledgers 2" for others
	$(BIN)/python -m tests.ledger.bench.stream $(ARGS)

lint: $(DEV)  ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(DEV)  ## pin the newest versions, with hashes
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --group dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 -c requirements-dev.lock pyproject.toml -o requirements.lock

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
