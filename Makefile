# Every target is a script in scripts/, which the Dockerfile and CI run as well. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := bash
.PHONY: help setup demo test test-full lint fuzz bench api-table docs build lock wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r name text; do printf '%-12s %s\n' "$$name" "$$text"; done

setup: ## apt packages that are missing, .venv with locked packages, native modules built in place
	@scripts/setup.sh test

build: ## build the native modules again where their sources changed
	@scripts/build.sh

demo: ## the main job on an embedded broker with a development issuer, narrated; exit 0 only if every step was seen to work
	@scripts/setup.sh && .venv/bin/kproxy demo

test: ## the suite that CI runs
	@scripts/setup.sh test && scripts/test.sh

test-full: ## everything, the long runs included, and the native modules under sanitizers
	@scripts/setup.sh test fuzz clients && scripts/test.sh --full && scripts/sanitize.sh

lint: ## ruff, mypy, import rules, and the house rules of tests/house
	@scripts/setup.sh && scripts/lint.sh

fuzz: ## fuzz every parser under asan and ubsan for FUZZ_SECONDS (30) each, counting edges
	@scripts/setup.sh fuzz && scripts/fuzz.sh

bench: ## the ladder: direct, HAProxy, kproxy with policy and audit; ratios with medians and spread
	@scripts/setup.sh bench && scripts/bench.sh

api-table: ## every API of Kafka: its versions, what is done with it, the tests that sent it; fails where there is none
	@scripts/setup.sh test && .venv/bin/python -m tests.api_table

docs: ## write the tables of keys, check the documentation against the code and build it into build/docs
	@scripts/setup.sh && scripts/docs.sh

lock: ## write requirements.lock anew from pyproject.toml
	@scripts/venv.sh && .venv/bin/python scripts/lock.py

wheel: ## sdist and wheel into dist/
	@scripts/setup.sh && scripts/wheel.sh

clean: ## remove what was built; .venv and fetched jars stay
	@scripts/clean.sh
