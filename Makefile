PYTHON ?= python3
PORT ?= 8501
# Test processes side by side, each with about 1 GB of memory: one more than there are cores, because they wait for browsers.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(8, (os.cpu_count() or 1) + 1))")
# Address of PyTorch's CPU wheel index, to install the lighter CPU-only pair of torch and torchvision.
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
# Python keeps the compiled files: the tests start many processes, and each would compile the app again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test lint types audit check bench texts clean

run: $(VENV)/.installed
	$(BIN)/streamlit run app.py --server.port $(PORT)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# Installed packages: pins, requirements, files; known vulnerabilities where a network is.
audit: $(VENV)/.installed-dev
	$(BIN)/python -m tests.dependency_audit

check: lint types audit test

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.run

# The catalogues of translated texts, from the texts of the code.
texts: $(VENV)/.installed-dev
	$(BIN)/python -m explorer.texts.extract update

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .shots

$(BIN)/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make run PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)

# A stamp older than its requirements file means: install again.
$(VENV)/.installed: requirements.txt | $(BIN)/python
	if [ -n "$(TORCH_INDEX)" ]; then \
		grep -E '^torch(vision)?==' requirements.txt | xargs $(BIN)/python -m pip install --index-url "$(TORCH_INDEX)"; fi
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-dask.txt $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	touch $@
