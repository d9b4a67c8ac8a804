# On a fresh machine `make demo` and `make test` are all that is needed; each makes .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: help demo test check bench docs format clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml constraints.txt
	@if command -v uv >/dev/null; then \
	    uv venv -q --allow-existing --python $(PYTHON) $(VENV) && uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	    $(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

demo: $(VENV)/.installed  ## train a small model on moving shapes and judge its clips (some 20 minutes on a core of an AMD EPYC)
	$(BIN)/growreel demo --out runs/demo

test: $(VENV)/.installed  ## all tests, offline
	$(BIN)/pytest -n 2 -q

check: $(VENV)/.installed  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed  ## speed and memory of every stage of the paper's plan on this machine (about 15 minutes on 2 cores)
	$(BIN)/growreel bench --out runs/bench.json

docs: $(VENV)/.installed  ## the docs as a site in build/site; a link that leads nowhere is an error
	@if command -v uv >/dev/null; then \
	    uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[docs]'; \
	else \
	    $(BIN)/pip install -q -c constraints.txt -e '.[docs]'; \
	fi
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -d build/site

format: $(VENV)/.installed  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and all caches; runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
