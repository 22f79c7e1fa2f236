# Everything is done through these targets; `make` lists them.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help

$(STAMP): requirements-dev.lock pyproject.toml
	@echo "Making $(VENV) from requirements-dev.lock (a few minutes, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

HOME_DIR ?= .
ORDERS ?=
OUT ?= $(HOME_DIR)/outputs/scores.parquet
ARGS ?=

# One word for the shell, whatever is in it; ~/ at its beginning is the user's folder. ARGS alone is cut into words.
at_start := @start@
quoted = '$(subst ','\'',$(subst $(at_start),,$(subst $(at_start)~/,$(HOME)/,$(at_start)$(1))))'
home = $(call quoted,$(HOME_DIR))
orders = $(call quoted,$(ORDERS))
out = $(call quoted,$(OUT))

.PHONY: help
help: ## list the targets
	@echo "make TARGET [ORDERS=orders.csv] [HOME_DIR=folder] [OUT=scores.parquet] [ARGS=\"--columns amount=Total\"]"
	@echo "ORDERS is one file, folder, glob or address; options go into ARGS (check, train, score, report, monitor)."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP) ## make .venv with the locked dependencies

.PHONY: demo
demo: $(STAMP) ## the main job on the CDNOW orders that ship inside lifetimes
	@$(BIN)/repurchase demo --home $(home)

.PHONY: check
check: $(STAMP) orders-given ## what an export holds, and whether it is enough; writes nothing
	@$(BIN)/repurchase check $(orders) --home $(home) $(ARGS)

.PHONY: train
train: $(STAMP) orders-given ## train on ORDERS, judge, keep, promote what is better
	@$(BIN)/repurchase train $(orders) --home $(home) $(ARGS)

.PHONY: score
score: $(STAMP) orders-given ## score the customers of ORDERS into OUT
	@$(BIN)/repurchase score $(orders) --home $(home) --out $(out) $(ARGS)

.PHONY: report
report: $(STAMP) ## make outputs/report.html from OUT; with ORDERS, every purchase and product too
	@$(BIN)/repurchase report $(out) --home $(home) $(if $(ORDERS),--orders $(orders)) --out $(home)/outputs/report.html $(ARGS)

.PHONY: monitor
monitor: $(STAMP) orders-given ## what came of the scores in OUT, by the ORDERS as they are now
	@$(BIN)/repurchase monitor $(out) $(orders) --home $(home) $(ARGS)

.PHONY: mlflow
mlflow: $(STAMP) ## open the MLflow pages of the runs on http://127.0.0.1:5000
	@home="$$(cd $(home) && pwd)" && MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
		$(BIN)/mlflow server --host 127.0.0.1 --workers 1 --backend-store-uri "sqlite:///$$home/mlruns/mlflow.db"

.PHONY: notebooks
notebooks: $(STAMP) ## run the notebooks as they are
	@$(BIN)/python -m pytest --quiet --nbmake --nbmake-timeout=600 notebooks

.PHONY: test
test: $(STAMP) ## run the tests and the notebooks
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --hypothesis-profile=ci -n 2 --dist loadfile --ignore=tests/faults --ignore=tests/spark
	@$(MAKE) --no-print-directory notebooks

.PHONY: test-slow
test-slow: $(STAMP) ## run the tests that kill jobs, fill disks and start a Spark cluster
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet -n 2 --dist loadfile tests/spark tests/faults

.PHONY: lint
lint: $(STAMP) ## check style
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

.PHONY: types
types: $(STAMP) ## check types
	@$(BIN)/mypy

.PHONY: audit
audit: $(STAMP) ## look for known vulnerabilities in the locked dependencies, where their database can be reached
	@.ci/audit $(VENV)

.PHONY: bench-accuracy
bench-accuracy: $(STAMP) ## accuracy beside the peers, on CDNOW and on the real logs where they lie beside the checkout
	@$(BIN)/python -m benchmarks.accuracy

.PHONY: bench-speed
bench-speed: $(STAMP) ## time and memory beside lifetimes, on generated orders of 100,000 and 1,000,000 customers
	@$(BIN)/python -m benchmarks.speed

.PHONY: bench-start
bench-start: $(STAMP) ## how long --help and a score of CDNOW take
	@$(BIN)/python -m benchmarks.start

.PHONY: bench-reading
bench-reading: $(STAMP) ## how many random exports are read right, refused, or read wrong
	@$(BIN)/python -m benchmarks.reading

.PHONY: lock
lock: $(STAMP) ## resolve the dependencies anew, with hashes
	@$(BIN)/uv pip compile pyproject.toml --extra dev --extra sql --extra spark --generate-hashes --universal --python-version 3.11 \
		--no-annotate --no-header --quiet -o requirements-dev.lock
	@$(BIN)/uv pip compile pyproject.toml --generate-hashes --universal --python-version 3.11 \
		--no-annotate --no-header --quiet --constraint requirements-dev.lock -o requirements.lock

.PHONY: clean
clean: ## remove caches and outputs; models and runs stay
	@rm -rf outputs build dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

.PHONY: orders-given
orders-given:
	@test -n $(orders) || { echo "Say which orders: make $(MAKECMDGOALS) ORDERS=orders.csv"; exit 2; }
	@case $(orders) in *" --"*) test -e $(orders) || { \
		echo "ORDERS is one word; options go into ARGS: make $(MAKECMDGOALS) ORDERS=shop.sqlite ARGS=\"--table orders\""; \
		exit 2; };; esac
