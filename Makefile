# One environment serves every target. It is made when missing, and again only when pyproject.toml
# or this file has changed: the stamp's name holds their checksum.
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed-$(shell cat pyproject.toml Makefile | cksum | cut -d' ' -f1)
OUT ?= runs/demo
SEED ?= 0
FUZZ_SECONDS ?= 120
# Whole files to a process: what a file trains or exports is made once. Long files first (conftest.py).
PYTEST ?= $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

export TF_CPP_MIN_LOG_LEVEL ?= 2
export NO_MKDOCS_2_WARNING ?= 1

.PHONY: demo test test-tensorflow test-jax fuzz notebooks lint format hooks docs names

demo: $(STAMP)
	$(BIN)/python examples/quickstart.py $(if $(DATA),--data "$(DATA)") --out "$(OUT)"

# The fuzz is one process, and takes its time beside the tests.
test: test-tensorflow
	$(MAKE) -j 2 fuzz test-jax

# Tests compile much and run little: XLA need not optimise, its older way to fuse is quicker, and so is
# a program in one part where all cores are busy.
test-tensorflow test-jax: export XLA_FLAGS ?= --xla_backend_optimization_level=0 \
	--xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false \
	--xla_cpu_parallel_codegen_split_count=1

# Programs that JAX has compiled are kept: for the other process, the next one, and the next run.
test-jax: export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.pytest_cache/jax
test-jax: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0

test-tensorflow: $(STAMP)
	KERAS_BACKEND=tensorflow $(PYTEST)

test-jax: $(STAMP)
	KERAS_BACKEND=jax $(PYTEST) -m "not one_backend"

# Random logs; `make fuzz SEED=7 FUZZ_SECONDS=3600` takes others, for an hour.
fuzz: $(STAMP)
	KERAS_BACKEND=tensorflow $(BIN)/python -m tests.fuzz \
		--seconds $(FUZZ_SECONDS) --seed $(SEED) --out runs/fuzz.json

# Executed in fresh kernels; `make notebooks ACTION=--write` writes their outputs anew.
notebooks: $(STAMP)
	KERAS_BACKEND=tensorflow $(BIN)/python examples/notebooks/run.py $(or $(ACTION),--check)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --project pyproject.toml

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Git runs ruff before each commit.
hooks: $(STAMP)
	$(BIN)/pre-commit install

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

names: $(STAMP)
	$(BIN)/python -m tests.house.public_names

$(STAMP):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=path/to/python"; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@# Tests compare with TensorFlow Recommenders and speak to servers by TensorFlow Serving's
	@# interfaces. Their dependencies would lay `tensorflow` over `tensorflow-cpu`, which serves
	@# them as well.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		'tensorflow-recommenders>=0.7.7' 'tf-keras>=2.20' \
		'tensorflow-serving-api>=2.18'
	@rm -f $(VENV)/installed-*
	@touch $@
