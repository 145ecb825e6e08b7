# Every target is one line that calls a program in pipelines/. `make help` lists them.
CONFIG ?= video
RUN ?= runs/$(basename $(notdir $(CONFIG)))
SET ?=
STAGE ?= all
TEXT ?=
# USER is set by every shell: it counts only where it was said to make.
export USER_ID := $(if $(filter command,$(origin USER)),$(USER))
export TEXT
export SET
PYTHON ?= python3

PY := .venv/bin/python
ARGUMENTS = --config "$(CONFIG)" --run "$(RUN)" $(if $(SET),--set "$$SET")

.DEFAULT_GOAL := help
.PHONY: help setup data train eval export recommend serve update rollback simulate bench tensorboard smoke test test-all lint format clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 20
	@echo '  variables: CONFIG=video RUN=runs/video SET="section.key=value ..." STAGE=all; for recommend USER= TEXT='

setup:  ## make .venv from requirements.lock
	@$(PYTHON) pipelines/setup.py

data: setup  ## fetch and prepare the data of CONFIG
	@$(PY) -m pipelines.prepare $(ARGUMENTS)

train: setup  ## train every stage of CONFIG and export it (STAGE=name: that stage again, and what follows)
	@$(PY) -m pipelines.train $(ARGUMENTS) --stage "$(STAGE)"

eval: setup  ## print the metrics of RUN (SET="evaluate.split=test" for the test split)
	@$(PY) -m pipelines.evaluate $(ARGUMENTS)

export: setup  ## write the next version of the SavedModel of RUN
	@$(PY) -m pipelines.export $(ARGUMENTS)

recommend: setup  ## ask the export: USER=1 TEXT="funny animation for kids"
	@$(PY) -m pipelines.recommend $(ARGUMENTS) --user "$$USER_ID" --text "$$TEXT"

serve: setup  ## answer requests over HTTP (SET="serving.port=8500"; documentation at /docs)
	@$(PY) -m pipelines.serve $(ARGUMENTS)

update: setup  ## learn from the event log of RUN while it is served (STAGE=items: take new items in, without a training)
	@$(PY) -m pipelines.update $(ARGUMENTS) --stage "$(STAGE)"

rollback: setup  ## serve the version of RUN that was served before, and this one never again
	@$(PY) -m pipelines.update $(ARGUMENTS) --rollback

simulate: setup  ## agents in small worlds, judged sessions of RUN; SET="simulate.crowd_sessions=2000" or "simulate.server=URL" too
	@$(PY) -m pipelines.simulate $(ARGUMENTS)

bench: setup  ## measure speed beside other libraries, which get environments of their own (.venv-bench*)
	@$(PY) -m pipelines.bench --config "$(CONFIG)" $(if $(filter command line,$(origin RUN)),--run "$(RUN)") $(if $(SET),--set "$$SET")

tensorboard: setup  ## watch RUN in the browser
	@$(PY) -m tensorboard.main --logdir "$(RUN)/tensorboard"

smoke: setup  ## the whole flow on synthetic data, in under two minutes
	@$(PY) -m pipelines.smoke

test: setup  ## the tests
	@$(PY) -m pytest

test-all: setup  ## the slow tests too
	@$(PY) -m pytest -m "slow or not slow"

lint: setup  ## ruff: rules and format
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

format: setup  ## ruff: mend what it can
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .

clean:  ## remove .venv and caches of tools (runs and downloaded data stay)
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist *.egg-info && find . -name __pycache__ -type d -prune -exec rm -rf {} +
