# Every target sets itself up: a virtual environment in the checkout with pinned versions.
PYTHON ?= python3
VENV ?= .venv
# Real weights and photographs for the tests, used where they lie.
DATA ?= ../shared/data
# Further options of pytest, for instance ARGS="--weights=FILE --imagenet=DIR".
ARGS ?=

# The tests start thousands of processes; without compiled modules each would compile its own.
export PYTHONDONTWRITEBYTECODE :=

INSTALLED := $(VENV)/.installed
PYTEST := $(VENV)/bin/python -m pytest
WEIGHTS := $(wildcard $(DATA)/squeezenet1_1-fp16-rounded.pth)
IMAGES := $(wildcard $(DATA)/imagenet-sample)

# With a board the main job is that board's gate, else a rehearsal on the emulated one.
BOARD := $(wildcard /dev/davinci*)$(shell command -v npu-smi)
ifneq ($(BOARD),)
GATE ?= board
MAIN := --gate=$(GATE)
else
GATE ?= rehearsal
MAIN := --gate=$(GATE) --board=emulated --tune=run --batch=1,16 --weights=sample --imagenet=sample
endif

.PHONY: conformance test selftest lint bench faults board-bundle venv
.DELETE_ON_ERROR:

conformance: venv  ## the main job: the whole chain under a gate, ending in a verdict
	$(PYTEST) $(MAIN) $(ARGS)

test: selftest  ## the suite's own tests, then the claims on real input, else on its sample
ifneq ($(and $(WEIGHTS),$(IMAGES)),)
	$(PYTEST) --gate=rehearsal -n 2 --board=emulated --tune=run --inference-tool=benchmark \
		--weights=$(WEIGHTS) --imagenet=$(IMAGES) $(ARGS)
	$(PYTEST) -m npu -n 2 --board=emulated --tune=run --inference-tool=ais_bench \
		--weights=$(WEIGHTS) --imagenet=$(IMAGES) $(ARGS)
else
	$(PYTEST) -m "not npu" -n 2 --weights=sample --imagenet=sample $(ARGS)
endif

selftest: venv
	$(PYTEST) selftest -q -n 2 --dist=worksteal

faults: venv  ## the fault matrix with 20 sound boards; writes the kill rate into docs/faults.md
	FAULT_SEEDS=20 $(PYTEST) selftest/test_fault_matrix.py -n 2 -q -o junit_family=xunit1 \
		--junit-xml=$(VENV)/faults.xml; status=$$?; \
	$(VENV)/bin/python -m selftest.fault_report $(VENV)/faults.xml && exit $$status

lint: venv  ## style, types, import contracts
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy .
	$(VENV)/bin/lint-imports

bench: venv  ## speed of this suite, side by side with what it replaces
	$(VENV)/bin/python -m benchmarks $(addprefix --weights=,$(WEIGHTS)) \
		$(addprefix --imagenet=,$(IMAGES)) $(ARGS)

board-bundle: venv  ## one archive for a board without network: ARCH=aarch64 or x86_64
	$(VENV)/bin/python -m conformance board-bundle --arch=$(or $(ARCH),aarch64) $(ARGS)

venv: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		f"needs Python 3.11 or newer, got {sys.version.split()[0]}: make PYTHON=python3.11")'
	@echo "installing pinned packages into $(VENV); this happens once"
	$(PYTHON) -m venv $(VENV)
	# What is imported is compiled then; to compile all takes as long as the rest of installing.
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint constraints.txt --editable '.[export,reference,report,stats,dev]'
	@touch $@
