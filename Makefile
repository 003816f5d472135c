# The commands of the project. `make demo` and `make test` work in a fresh clone.
PYTHON3 ?= python3
VENV := .venv/bin

.PHONY: demo test up setup setup-dev lint types imports lock clean-demo

demo: setup          ## bars to filled orders on both markets, from nothing
	$(VENV)/quant demo

up: setup            ## start the desk: Dagster, MLflow, the simulated exchange
	$(VENV)/quant up

test: setup-dev      ## all checks and tests
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports
	$(VENV)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

setup:
	@command -v $(PYTHON3) >/dev/null || { echo "no python3: install Python 3.12 (apt-get install python3 python3-venv)"; exit 1; }
	@$(PYTHON3) setup_environment.py

setup-dev:
	@command -v $(PYTHON3) >/dev/null || { echo "no python3: install Python 3.12 (apt-get install python3 python3-venv)"; exit 1; }
	@$(PYTHON3) setup_environment.py --dev

lint:
	$(VENV)/ruff check --fix . && $(VENV)/ruff format .

lock:                ## pin anew, with hashes and without naming an index
	uv pip compile pyproject.toml --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-strip-extras -o requirements.lock
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-strip-extras -c requirements.lock -o requirements-dev.lock
