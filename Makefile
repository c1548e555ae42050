# `make demo` and `make test` are all a newcomer needs: each makes .venv and installs vhbench first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-all check bench clean

demo: $(READY)  ## train, encode and score on the embedded demo protocol
	$(BIN)/vhbench run --method lsh,pcah,itq,uvvh --protocol demo --bits 16,32

test: $(READY)  ## the everyday test suite
	tests/browser/install.sh
	tests/slurm/install.sh
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

test-all: $(READY)  ## the long checks too: real data, full-size inputs
	tests/browser/install.sh
	tests/slurm/install.sh
	$(BIN)/pytest -n 2 --dist loadgroup

check: $(READY)  ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build && $(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/typed .
	cd build/typed && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p vhbench

bench: $(READY)  ## side-by-side speed and memory
	$(BIN)/vhbench bench

$(READY): pyproject.toml setup.py
	$(PYTHON) -c "import sys; sys.exit('vhbench needs Python 3.11 or newer; set PYTHON=python3.11' if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "setuptools>=77" wheel
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[dev]"
	touch $(READY)

clean:  ## remove what can be made again; results stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
