# Everything is done through these targets; `make` lists them.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help

$(STAMP): requirements-dev.lock pyproject.toml
	@echo "Creating $(VENV) from requirements-dev.lock (a few minutes, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

HOME_DIR ?= .
ORDERS ?=
OUT ?= $(HOME_DIR)/outputs/scores.parquet
ARGS ?=

# Quoted as one shell word, whatever it contains; a leading ~/ is the user's home folder. Only ARGS is split into words.
at_start := @start@
quoted = '$(subst ','\'',$(subst $(at_start),,$(subst $(at_start)~/,$(HOME)/,$(at_start)$(1))))'
home = $(call quoted,$(HOME_DIR))
orders = $(call quoted,$(ORDERS))
out = $(call quoted,$(OUT))

.PHONY: help
help: ## list the targets
	@echo "make TARGET [ORDERS=orders.csv] [HOME_DIR=folder] [OUT=scores.parquet] [ARGS=\"--columns amount=Total\"]"
	@echo "ORDERS is one file, folder, glob or URL; options go into ARGS (check, train, score, report, monitor)."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP) ## create .venv with the locked dependencies

.PHONY: demo
demo: $(STAMP) ## check, train, score and report on the CDNOW example orders
	@$(BIN)/repurchase demo --home $(home)

.PHONY: check
check: $(STAMP) orders-given ## show how ORDERS is read, and whether it is enough; writes nothing
	@$(BIN)/repurchase check $(orders) --home $(home) $(ARGS)

.PHONY: train
train: $(STAMP) orders-given ## train and grade a model on ORDERS; promote it if it is better
	@$(BIN)/repurchase train $(orders) --home $(home) $(ARGS)

.PHONY: score
score: $(STAMP) orders-given ## score the customers of ORDERS into OUT
	@$(BIN)/repurchase score $(orders) --home $(home) --out $(out) $(ARGS)

.PHONY: report
report: $(STAMP) ## write outputs/report.html from OUT; with ORDERS also purchases and products
	@$(BIN)/repurchase report $(out) --home $(home) $(if $(ORDERS),--orders $(orders)) --out $(home)/outputs/report.html $(ARGS)

.PHONY: monitor
monitor: $(STAMP) orders-given ## compare the scores in OUT with the later ORDERS
	@$(BIN)/repurchase monitor $(out) $(orders) --home $(home) $(ARGS)

.PHONY: mlflow
mlflow: $(STAMP) ## serve the MLflow pages of the runs on http://127.0.0.1:5000
	@home="$$(cd $(home) && pwd)" && MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
		$(BIN)/mlflow server --host 127.0.0.1 --workers 1 --backend-store-uri "sqlite:///$$home/mlruns/mlflow.db"

FAST_TESTS := $(addprefix tests/,features models evaluation marketing storage test_schemas.py test_validation.py test_vocabulary.py)

.PHONY: notebooks
notebooks: $(STAMP) ## run the notebooks as tests
	@$(BIN)/python -m pytest --quiet --nbmake --nbmake-timeout=600 notebooks

.PHONY: test
test: $(STAMP) ## run the tests and the notebooks; COVERAGE=1 measures the lines they reach and holds them to the floor
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --hypothesis-profile=ci -n 2 --dist loadfile --ignore=tests/faults --ignore=tests/spark \
		$(if $(COVERAGE),--cov --cov-report=term:skip-covered)
	@$(MAKE) --no-print-directory notebooks

.PHONY: test-fast
test-fast: $(STAMP) ## run the quick tests of single modules, in under a minute
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --hypothesis-profile=ci -n 2 --dist loadfile -o addopts="--import-mode=importlib -ra --strict-markers" $(FAST_TESTS)

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
audit: $(STAMP) ## check the locked dependencies for known vulnerabilities (needs a network)
	@.ci/audit $(VENV)

.PHONY: docs
docs: $(STAMP) ## build the documentation site in site/; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: release-check
release-check: $(STAMP) ## build the package, check its metadata, print the changelog's section; TAG=v1.2.3 checks the tag
	@rm -rf dist
	@$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python
	@$(BIN)/python .ci/release-check $(TAG)

.PHONY: bench-accuracy
bench-accuracy: $(STAMP) ## accuracy compared with other models, on CDNOW and on the real logs in ../shared/data
	@$(BIN)/python -m benchmarks.accuracy

.PHONY: bench-speed
bench-speed: $(STAMP) ## time and memory compared with lifetimes, on generated orders of 100,000 and 1,000,000 customers
	@$(BIN)/python -m benchmarks.speed

.PHONY: bench-start
bench-start: $(STAMP) ## start-up time of the command line
	@$(BIN)/python -m benchmarks.start

.PHONY: bench-reading
bench-reading: $(STAMP) ## how many random exports are read correctly, refused, or misread
	@$(BIN)/python -m benchmarks.reading

.PHONY: lock
lock: $(STAMP) ## resolve the dependencies again, with hashes
	@$(BIN)/uv pip compile pyproject.toml --extra dev --extra docs --extra sql --extra spark --generate-hashes --universal --python-version 3.11 \
		--no-annotate --no-header --quiet -o requirements-dev.lock
	@$(BIN)/uv pip compile pyproject.toml --generate-hashes --universal --python-version 3.11 \
		--no-annotate --no-header --quiet --constraint requirements-dev.lock -o requirements.lock

.PHONY: clean
clean: ## remove caches and outputs; models and runs stay
	@rm -rf outputs build dist site htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

.PHONY: orders-given
orders-given:
	@test -n $(orders) || { echo "ORDERS is missing: make $(MAKECMDGOALS) ORDERS=orders.csv"; exit 2; }
	@case $(orders) in *" --"*) test -e $(orders) || { \
		echo "ORDERS takes no options; they go into ARGS: make $(MAKECMDGOALS) ORDERS=shop.sqlite ARGS=\"--table orders\""; \
		exit 2; };; esac
