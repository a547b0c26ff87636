# `make demo` and `make test` need nothing but this checkout: see CONTRIBUTING.md.

PYTHON := .venv/bin/python
BAZELISK := .venv/bin/bazelisk
SETUP_FILES := $(wildcard tools/*.sh tools/requirements*.txt) \
  .bazelversion pyproject.toml
CC_FILES = $(shell find cc examples benchmarks -name '*.cc' -o -name '*.h')
PYTEST_ARGS ?=
BENCHMARK_ARGS ?=
DETECTOR_ARGS ?=
TENSORFLOWS ?=
BAZEL_TEST_ARGS ?=
MUTATIONS ?=
TEST_CC ?= //...
TRITON_FAULTS_ARGS ?=
COUNT_ARGS ?=
FUZZ_SECONDS ?= 120
FUZZ_ARGS ?=
# nvcc has a code generator for architectures before 100 and another for those from there on.
DEVICE_TEST_ARCHITECTURES ?= 90,120

BUILD_NATIVE = @tools/setup_cuda.sh && $(PYTHON) setup.py --quiet build_native

.PHONY: all setup setup-onnx setup-detector build demo benchmark cpp-host onnx detector \
  compare-detectors notebook triton triton-faults test test-python test-cc test-device \
  count-device test-triton mutations sanitize tsan fuzz aarch64 lint format docs docs-images \
  setup-docs \
  wheel test-wheel release sdist clean

# pip, Bazel and pytest see to it that all cores have work.
.NOTPARALLEL:

all: build

# .venv with what it takes to build and to run the examples; .dev-done: also the tests and
# linters. Made once, then reused.
.venv/.setup-done: $(SETUP_FILES)
	@tools/setup.sh

.venv/.dev-done: $(SETUP_FILES)
	@tools/setup.sh dev

setup: .venv/.dev-done build

# Optional: what the tests of tf_roialign.onnx need in .venv.
setup-onnx: .venv/.onnx-done

.venv/.onnx-done: tools/requirements-onnx.txt | .venv/.setup-done
	.venv/bin/pip install --quiet --requirement $<
	@touch $@

# Optional: what examples/detector and its tests need in .venv.
setup-detector: .venv/.detector-done

.venv/.detector-done: tools/requirements-detector.txt | .venv/.setup-done
	.venv/bin/pip install --quiet --requirement $<
	@touch $@

# Optional: what the documentation's site needs in .venv.
setup-docs: .venv/.docs-done

.venv/.docs-done: tools/requirements-docs.txt | .venv/.setup-done
	.venv/bin/pip install --quiet --requirement $<
	@touch $@

# Optional: Triton Inference Server, in an environment of its own.
.venv-triton/.setup-done: tools/setup_triton.sh tools/requirements-triton.txt | .venv/.setup-done
	@tools/setup_triton.sh

# Brings the library in the checkout up to date with its sources.
build: .venv/.setup-done
	$(BUILD_NATIVE)

# The part for XLA takes longer to compile than the rest, and the demo does without.
demo: .venv/.setup-done
	$(BUILD_NATIVE) --ops-only
	$(PYTHON) examples/demo.py

# Against the peers that are installed: see benchmarks/README.md.
benchmark: build
	$(BAZELISK) build //benchmarks:machine_limits
	$(PYTHON) benchmarks/run.py $(BENCHMARK_ARGS)

cpp-host: build
	$(BAZELISK) build //examples/cpp_host:host
	$(PYTHON) examples/cpp_host/run.py

onnx: build .venv/.onnx-done
	$(PYTHON) examples/to_onnx.py

# Trains a detector in minutes, or one for each pooler: see examples/detector/README.md.
detector: build .venv/.detector-done
	cd examples && ../$(PYTHON) -m detector.train $(DETECTOR_ARGS)

compare-detectors: build .venv/.detector-done
	cd examples && ../$(PYTHON) -m detector.compare $(DETECTOR_ARGS)

# Executes docs/notebook.ipynb, whose outputs are committed with it.
notebook: .venv/.dev-done build
	$(PYTHON) tools/execute_notebook.py

# Serves a box classifier until it is stopped: see docs/serving.md.
triton: build .venv-triton/.setup-done
	.venv-triton/bin/python examples/triton/serve.py

test-triton: build .venv-triton/.setup-done
	.venv-triton/bin/python -m pytest tests/test_triton.py tests/test_triton_faults.py $(PYTEST_ARGS)

# Ten minutes of bad, huge and abandoned requests among good ones, with kills: see docs/serving.md.
triton-faults: build .venv-triton/.setup-done
	cd tests && ../.venv-triton/bin/python -m serving $(TRITON_FAULTS_ARGS)

test: test-cc test-python

test-python: .venv/.dev-done build
	$(PYTHON) -m pytest $(PYTEST_ARGS)

test-cc: .venv/.dev-done
	$(BAZELISK) test -- $(TEST_CC)

# Plants each fault of tests/mutations in a copy of the tree, and shows that a test fails.
mutations: .venv/.dev-done build
	$(PYTHON) tools/mutate.py $(MUTATIONS)

# Tests that test-device runs too: it checks the same of the device code, and more. Under a sanitizer
# their emulation of a GPU takes over ten minutes, and in another processor's emulator longer.
EMULATED := $(foreach test,box_count box_tangent kernels quantized,-//cc/core/cuda:$(test)_test)

SANITIZED ?= //cc/core/... $(EMULATED)

sanitize tsan: .venv/.dev-done
	$(BAZELISK) test --config=$@ -- $(SANITIZED)

# The core with libFuzzer and both sanitizers, from the inputs of cc/core/fuzz on. New ones go to
# build/fuzz, and one that shows a fault to build/fuzz-faults. Its Bazel keeps away from the other.
fuzz: .venv/.dev-done
	@tools/setup_fuzz.sh
	@mkdir -p build/fuzz build/fuzz-faults
	$(PYTHON) tools/fuzz_corpus.py unpack cc/core/fuzz/corpus.txt build/fuzz
	$(PYTHON) tools/fuzz_corpus.py unpack cc/core/fuzz/faults.txt build/fuzz
	$(BAZELISK) --output_base=$(CURDIR)/.bazel-fuzz run --config=fuzz --repo_env=CC=clang \
	  //cc/core/fuzz:call_fuzzer -- -max_total_time=$(FUZZ_SECONDS) -max_len=512 -timeout=10 -len_control=0 \
	  -entropic=0 -print_final_stats=1 -artifact_prefix=$(CURDIR)/build/fuzz-faults/ $(FUZZ_ARGS) \
	  $(CURDIR)/build/fuzz
	$(BAZELISK) --output_base=$(CURDIR)/.bazel-fuzz shutdown

# The CUDA kernels as nvcc compiled them, without a GPU: their PTX, interpreted
# (cc/core/cuda/device_test), and what of TensorFlow and XLA launches them (device_test of cc/kernels
# and of cc/xla).
test-device count-device: export TF_ROIALIGN_CUDA_ARCHITECTURES := $(DEVICE_TEST_ARCHITECTURES)
test-device: .venv/.dev-done
	@tools/setup_cuda.sh
	$(BAZELISK) test --config=cuda $(BAZEL_TEST_ARGS) //cc/core/cuda/device_test \
	  //cc/kernels/device_test:cuda_op_test //cc/xla/device_test:cuda_handlers_test

# Instructions and memory accesses of W1 to W4 per element, by the same interpreter.
count-device: .venv/.dev-done
	@tools/setup_cuda.sh
	$(BAZELISK) run --config=cuda //cc/core/cuda/device_test:count -- $(COUNT_ARGS)

# The core for 64-bit ARM, in an emulator. Its Bazel keeps away from the other.
aarch64: .venv/.dev-done
	@tools/setup_aarch64.sh
	$(BAZELISK) --output_base=$(CURDIR)/.bazel-aarch64 test --config=aarch64 \
	  --repo_env=CC=$(CURDIR)/tools/aarch64_gcc.sh --symlink_prefix=/ \
	  $(BAZEL_TEST_ARGS) -- //cc/core/... $(EMULATED)
	$(BAZELISK) --output_base=$(CURDIR)/.bazel-aarch64 shutdown

lint: .venv/.dev-done
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/clang-format --dry-run -Werror $(CC_FILES)

format: .venv/.dev-done
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	.venv/bin/clang-format -i $(CC_FILES)

# The documentation's site, in build/docs: docs/index.md is its first page. A warning is an error.
docs: build setup-docs
	rm -rf build/docs
	$(PYTHON) -m sphinx -E -W --keep-going -q -d build/doctrees docs build/docs

# The figures of docs/meaning.md, drawn by the ops.
docs-images: build
	$(PYTHON) docs/images/draw.py

# A wheel is for other machines: not for the GPUs of this one.
wheel: export TF_ROIALIGN_CUDA_ARCHITECTURES := $(or $(TF_ROIALIGN_CUDA_ARCHITECTURES),default)
wheel: .venv/.setup-done
	rm -rf build/lib* build/bdist* dist
	@tools/setup_cuda.sh
	$(PYTHON) -W "ignore:setup.py install" setup.py --quiet bdist_wheel

# The tests against the wheel as a user gets it: in an environment of its own,
# outside the checkout.
test-wheel: wheel
	tools/test_wheel.sh dist/*.whl $(PYTEST_ARGS)

# The wheel for all TensorFlows of tools/tensorflows.txt, or those of TENSORFLOWS; then its tests, in an
# empty environment for each.
release: export TF_ROIALIGN_CUDA_ARCHITECTURES := $(or $(TF_ROIALIGN_CUDA_ARCHITECTURES),default)
release: .venv/.setup-done
	tools/release.sh $(TENSORFLOWS)
	tools/test_release.sh dist/*.whl $(TENSORFLOWS)

sdist: .venv/.setup-done
	$(PYTHON) setup.py --quiet sdist

clean:
	-$(BAZELISK) clean --expunge
	rm -rf build dist *.egg-info tf_roialign/*.so tf_roialign/_build_info.py
	rm -rf .bazel-aarch64 .bazel-fuzz .venv .venv-release .venv-triton .bazelrc.local .bazeliskrc
