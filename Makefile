# Two commands: `make serve` to read the site, `make test` to check everything. `make help` lists the rest.
# All that is needed is make and Python 3.11 or newer; the environment is made in .venv from constraints.txt.

SHELL := /bin/sh
VENV := .venv
READY := $(VENV)/.ready
READER := .venv-wheel
BIN := $(VENV)/bin
PY := $(BIN)/python
PORT ?= 8000
WORKERS ?= 2
CONSTRAINTS ?= constraints.txt

# The first interpreter that runs and is new enough; `make PYTHON=/path/to/python …` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)

say = @printf '\n\033[1m==> %s\033[0m\n' "$(1)"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:  ## list what can be made
	@echo "llmref: how a transformer language model works, in code that runs"
	@echo
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

serve: $(READY)  ## run the experiments, build both languages, serve them on localhost (PORT=8000)
	$(call say,Building the site)
	@$(PY) docs/site/build.py
	$(call say,Serving it; stop with Ctrl-C)
	@$(PY) docs/site/build.py --serve --port $(PORT)

test: $(READY)  ## everything that must hold, as CI runs it
	@$(PY) tests/everything.py

env: $(READY)  ## make the environment in .venv

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { \
		echo "make: Python 3.11 or newer is needed, and none was found as python3, python3.13, python3.12, python3.11 or python."; \
		echo "      Install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	$(call say,Making the environment in $(VENV) with $(PYTHON) (the first time only; a few minutes))
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: $(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@PIP_CONSTRAINT=$(CONSTRAINTS) $(PY) -m pip install --disable-pip-version-check --editable '.[docs,dev]'
	@touch $@

site: $(READY)  ## run the experiments and build both languages into site/
	$(call say,Building the site)
	@$(PY) docs/site/build.py

experiments: $(READY)  ## run the experiments only
	$(call say,Running the experiments)
	@$(PY) docs/site/build.py --experiments

tiny: $(READY)  ## train the tiny model from nothing (about half an hour on a CPU)
	$(call say,Training the tiny model)
	@$(PY) -m llmref.tiny.make

measure: $(READY)  ## measure the tiny model again: its loss, facts and references
	$(call say,Measuring the tiny model)
	@$(PY) -m llmref.tiny.measure

twins: $(READY)  ## train the twins that are missing or changed: small models alike but for one difference (minutes each)
	$(call say,Training the twins)
	@$(PY) -m llmref.twins.make

bench: $(READY)  ## time what has to be fast
	@for file in benchmarks/*.py; do printf '\n\033[1m==> %s\033[0m\n' "$$file"; $(PY) "$$file" || exit 1; done

mutants: $(READY)  ## deliberate faults, one at a time: each must turn a test red (some minutes)
	$(call say,Running the tests on faulty packages)
	@$(PY) tests/mutants.py

lint: $(READY)  ## ruff
	$(call say,Linting)
	@$(PY) -m ruff check .

types: $(READY)  ## mypy
	$(call say,Checking types)
	@$(PY) -m mypy

doctests: $(READY)  ## the examples in the docstrings
	$(call say,Running the examples in the docstrings)
	@TRITON_INTERPRET=1 $(PY) -m pytest --doctest-modules llmref $(PYTEST)

unit: $(READY)  ## unit and property tests: what needs no site
	$(call say,Unit and property tests)
	@$(PY) -m pytest -m "not built" -n $(WORKERS) $(PYTEST)

wheel: $(READY)  ## build the wheel into dist/
	$(call say,Building the wheel)
	@rm -rf dist && $(PY) -m build --wheel --no-isolation --outdir dist . >/dev/null
	@ls -l dist/*.whl | awk '{ printf "%s: %.2f MB\n", $$NF, $$5 / 1e6 }'

reader: wheel  ## a second environment that holds the wheel and what it asks for, nothing else
	$(call say,Installing the wheel in $(READER) as a reader would (slow the first time))
	@test -x $(READER)/bin/python || $(PY) -m venv $(READER)
	@test $(READER)/.ready -nt pyproject.toml && test $(READER)/.ready -nt constraints.txt || \
		PIP_CONSTRAINT=$(CONSTRAINTS) $(READER)/bin/python -m pip install --disable-pip-version-check dist/*.whl
	@$(READER)/bin/python -m pip install --disable-pip-version-check --quiet --no-index --no-deps --force-reinstall dist/*.whl
	@touch $(READER)/.ready

browser: $(READY)  ## find a Chromium, or install one
	$(call say,Looking for a browser)
	@$(PY) tests/browser/find_browser.py

pdf: site browser  ## the whole chapter as a PDF in each language, linked from its front page
	$(call say,Printing the chapter)
	@$(PY) docs/site/pdf.py

pages: $(READY)  ## test what `make pdf reader` made: links, snippets, the PDFs, every page in a browser
	$(call say,Testing the built site)
	@$(PY) -m pytest -m built -n $(WORKERS) $(PYTEST)

clean:  ## remove what was made, but for the environment
	rm -rf $(READER) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: help serve test env site experiments tiny measure twins bench mutants lint types doctests unit wheel \
	reader browser pdf pages clean
