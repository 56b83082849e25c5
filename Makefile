# The tools run from .venv, which is made where it is missing and brought up to date where
# pyproject.toml or constraints.txt is newer. `make help` lists the targets.

PYTHON ?= python3
# Two workers, one thread each: more threads than cores make the solvers slower, not faster.
PYTEST_WORKERS ?= 2

VENV := .venv
RUN := $(VENV)/bin/python
# The constraints hold in pip's isolated builds too. Old versions of pip read the first variable
# there, new ones the second. Both are split at spaces, hence the relative path.
pip_install_in = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(1)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt
PIP_INSTALL := $(call pip_install_in,$(VENV))
# Other versions than those of the constraints. UV_TORCH_BACKEND=cpu takes torch's CPU build.
uv_install_in = $(RUN) -m uv pip install --quiet --compile-bytecode --python $(1)
pytest_in = OMP_NUM_THREADS=1 $(1)/bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile
PYTEST := $(call pytest_in,$(VENV))
QUICK := -m "not slow and not soak"

.PHONY: help demo test test-slow soak test-lowest test-latest test-without sanitize wheel lint typecheck docs notebooks bench clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

CORE := $(wildcard skddl/sparse_coding/core/*)

$(VENV)/.installed: pyproject.toml constraints.txt $(CORE)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "skddl needs Python 3.11 or newer, got " + sys.version.split()[0] + ": call make PYTHON=/path/to/python3.11")'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e '.[dev,plot]'
	@$(RUN) -c 'from skddl.sparse_coding._core import core; core or print("The compiled core was not built, for want of a C++ compiler that works (SKDDL_REQUIRE_CORE=1 shows why): SPAMS computes the codes, which takes longer.")'
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[$*]'
	@touch $@

demo: $(VENV)/.installed  ## train on digits, print a table, write figures to demo_output/
	$(RUN) examples/demo.py

test: lint typecheck  ## lint, types, doctests and the tests that are not slow
	$(PYTEST) $(QUICK)

test-slow: $(VENV)/.installed  ## the slow tests alone
	$(PYTEST) -m "slow and not soak"

# Some take longer than after which others print where they are.
soak: $(VENV)/.installed  ## the long tests of reliability alone
	$(PYTEST) -m soak -o faulthandler_timeout=3600

# to_onnx needs a newer torch than the rest. scikit-learn 1.6 reads the names of columns of polars in
# a way that polars 1.40 deprecates.
test-lowest: .venv-lowest/.installed .venv-lowest-onnx/.installed  ## doctests and quick tests, on the lowest versions of pyproject.toml
	$(call pytest_in,.venv-lowest) $(QUICK)
	$(call pytest_in,.venv-lowest-onnx) tests/test_onnx.py

.venv-lowest/.installed: EXTRAS := plot tensorboard distributed
.venv-lowest-onnx/.installed: EXTRAS := onnx
.venv-lowest/.installed .venv-lowest-onnx/.installed: pyproject.toml $(CORE) | $(VENV)/.installed
	$(PYTHON) -m venv --clear $(@D)
	$(RUN) -m uv pip compile --quiet --resolution lowest-direct --python $(@D) \
		$(EXTRAS:%=--extra %) pyproject.toml -o $(@D)/constraints.txt >/dev/null
	$(call uv_install_in,$(@D)) -c $(@D)/constraints.txt -e '.[dev]' 'polars<1.40'
	@touch $@

test-latest: $(VENV)/.installed  ## the same on the newest versions of all packages
	test -x .venv-latest/bin/python || $(PYTHON) -m venv .venv-latest
	$(call uv_install_in,.venv-latest) --upgrade --reinstall-package skddl -e '.[dev,plot]'
	$(call pytest_in,.venv-latest) $(QUICK)

# The tests of reliability take containers of pandas and polars, and name their solvers.
test-without: .venv-without/.installed  ## the same without the compiled core, SPAMS and what only extras bring
	$(call pytest_in,.venv-without) $(QUICK) --ignore=tests/reliability

# As where there is no compiler.
.venv-without/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(@D)
	CXX=/none $(call pip_install_in,$(@D)) -e . pytest pytest-xdist hypothesis
	$(@D)/bin/python -m pip uninstall --quiet --yes spams-bin
	@touch $@

# torch and SPAMS leak as they end, and Python is not built to see what others overrun.
sanitize: .venv-sanitize/.installed  ## the tests of sparse coding, the core with sanitizers of memory and undefined behaviour
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
		ASAN_OPTIONS=detect_leaks=0 $(call pytest_in,.venv-sanitize) $(QUICK) tests/sparse_coding

.venv-sanitize/.installed: $(CORE) pyproject.toml constraints.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	SKDDL_REQUIRE_CORE=1 $(call pip_install_in,$(@D)) -e . pytest pytest-xdist hypothesis -C cmake.define.SKDDL_SANITIZE=ON
	@touch $@

# Of this machine; .github/workflows/wheels.yml builds those that others can use.
wheel: $(VENV)/.installed-wheel  ## a wheel, in dist/, that runs without a compiler
	rm -rf dist
	SKDDL_REQUIRE_CORE=1 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(RUN) -m pip wheel --disable-pip-version-check --quiet --no-deps --wheel-dir dist/built .
	PATH="$(VENV)/bin:$$PATH" $(RUN) -m auditwheel repair --wheel-dir dist dist/built/*.whl
	rm -r dist/built
	$(RUN) -m auditwheel show dist/*.whl

lint: $(VENV)/.installed  ## ruff: rules and format; the format of the core; tables that are as the results are
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/clang-format --dry-run -Werror $(wildcard skddl/sparse_coding/core/*.?pp)
	$(RUN) benchmarks/speed_tables.py --check

typecheck: $(VENV)/.installed  ## mypy
	$(RUN) -m mypy

docs: $(VENV)/.installed-docs  ## run the gallery, build the documentation in docs/_build/html
	$(RUN) -m sphinx -W --keep-going -b html docs docs/_build/html

# They run in notebooks/: name SKDDL_DATA by an absolute path.
notebooks: $(VENV)/.installed-notebooks  ## execute the notebooks in place
	OMP_NUM_THREADS=1 $(RUN) -m jupyter execute --inplace notebooks/*.ipynb

bench: $(VENV)/.installed-bench  ## time the solvers, a training step, starts and threads, refresh the tables
	$(RUN) benchmarks/encode.py
	$(RUN) benchmarks/step.py
	$(RUN) benchmarks/startup.py
	$(RUN) benchmarks/threads.py
	$(RUN) benchmarks/speed_tables.py

clean:  ## remove what the targets wrote, except .venv*
	rm -rf demo_output docs/_build docs/auto_examples docs/generated dist build
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find skddl tests benchmarks examples docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
