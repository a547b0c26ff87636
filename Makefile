# `make demo` and `make test` need nothing but this checkout: see CONTRIBUTING.md.

PYTHON := .venv/bin/python
BAZELISK := .venv/bin/bazelisk
SETUP_FILES := $(wildcard tools/*.sh tools/requirements*.txt) \
  .bazelversion pyproject.toml
CC_FILES = $(shell find cc examples benchmarks -name '*.cc' -o -name '*.h')
PYTEST_ARGS ?=
BENCHMARK_ARGS ?=

.PHONY: all setup setup-onnx build demo benchmark cpp-host onnx triton test test-python test-cc \
  test-triton asan ubsan lint format wheel test-wheel clean

all: build

.venv/.setup-done: $(SETUP_FILES)
	@tools/setup.sh

# .venv with the built package importable. Made once, then reused.
setup: .venv/.setup-done

# Optional: what the tests of tf_roialign.onnx need in .venv.
setup-onnx: .venv/.onnx-done

.venv/.onnx-done: tools/requirements-onnx.txt | setup
	.venv/bin/pip install --quiet --requirement $<
	@touch $@

# Optional: Triton Inference Server, in an environment of its own.
.venv-triton/.setup-done: tools/setup_triton.sh tools/requirements-triton.txt | setup
	@tools/setup_triton.sh

# Brings the library in the checkout up to date with its sources.
build: setup
	@$(PYTHON) setup.py --quiet build_native

demo: build
	$(PYTHON) examples/demo.py

# Against the peers that are installed: see benchmarks/README.md.
benchmark: build
	$(BAZELISK) build //cc/tests:machine_limits
	$(PYTHON) benchmarks/run.py $(BENCHMARK_ARGS)

cpp-host: build
	$(BAZELISK) build //examples/cpp_host:host
	$(PYTHON) examples/cpp_host/run.py

onnx: build .venv/.onnx-done
	$(PYTHON) examples/to_onnx.py

# Serves a box classifier until it is stopped: see docs/serving.md.
triton: build .venv-triton/.setup-done
	.venv-triton/bin/python examples/triton/serve.py

test-triton: build .venv-triton/.setup-done
	.venv-triton/bin/python -m pytest tests/test_triton.py $(PYTEST_ARGS)

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
	rm -rf .venv .venv-triton .bazelrc.local .bazeliskrc
