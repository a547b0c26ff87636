# `make demo` and `make test` need nothing but this checkout: see CONTRIBUTING.md.

PYTHON := .venv/bin/python
BAZELISK := .venv/bin/bazelisk
SETUP_FILES := $(wildcard tools/*.sh tools/requirements*.txt) \
  .bazelversion pyproject.toml
CC_FILES = $(shell find cc benchmarks -name '*.cc' -o -name '*.h')
PYTEST_ARGS ?=
BENCHMARK_ARGS ?=

.PHONY: all setup build demo benchmark test test-python test-cc asan ubsan \
  lint format wheel test-wheel clean

all: build

.venv/.setup-done: $(SETUP_FILES)
	@tools/setup.sh

# .venv with the built package importable. Made once, then reused.
setup: .venv/.setup-done

# Brings the library in the checkout up to date with its sources.
build: setup
	@$(PYTHON) setup.py --quiet build_native

demo: build
	$(PYTHON) examples/demo.py

# Against the peers that are installed: see benchmarks/README.md.
benchmark: build
	$(BAZELISK) build //cc/tests:machine_limits
	$(PYTHON) benchmarks/run.py $(BENCHMARK_ARGS)

test: test-cc test-python

test-python: build
	$(PYTHON) -m pytest $(PYTEST_ARGS)

test-cc: setup
	$(BAZELISK) test //...

asan ubsan: setup
	$(BAZELISK) test --config=$@ //cc/tests/...

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/clang-format --dry-run -Werror $(CC_FILES)

format: setup
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	.venv/bin/clang-format -i $(CC_FILES)

wheel: setup
	rm -rf build/lib* build/bdist* dist
	$(PYTHON) -m pip wheel --no-build-isolation --no-deps --wheel-dir dist .

# The tests against the wheel as a user gets it: in an environment of its own,
# outside the checkout.
test-wheel: wheel
	tools/test_wheel.sh dist/*.whl $(PYTEST_ARGS)

clean:
	-$(BAZELISK) clean --expunge
	rm -rf build dist *.egg-info tf_roialign/*.so tf_roialign/_build_info.py
	rm -rf .venv .bazelrc.local .bazeliskrc
