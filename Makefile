# Everything happens in .venv, from uv.lock; nothing of the machine's Python is touched.
.DEFAULT_GOAL := help
PYTHON ?= python3
GENERATION ?= B
MINUTES ?= 10
COUNT ?= 1000
# The tests wait for other processes more than they compute.
TEST_PROCESSES ?= $(shell expr 2 '*' $$(nproc))
RUN := .venv/bin

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: ## Make .venv with everything from uv.lock
	@$(PYTHON) scripts/setup.py
	@$(PYTHON) scripts/system_packages.py libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0

demo: setup ## Show a backup made, verified by restoring it, on real sample data (GENERATION=A|B)
	@$(RUN)/k9ops demo --generation $(GENERATION)

up: setup ## Run the whole service here until Ctrl-C
	@$(RUN)/k9ops up

test: setup ## Run all tests on servers that the session starts itself
	@$(PYTHON) scripts/system_packages.py postgresql-15 poppler-utils libreoffice-calc-nogui redis-tools rabbitmq-server \
		chromium
	@$(RUN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal $(ARGS)

references: setup ## Draw the tests' pictures of the reports anew, to be looked at
	@$(PYTHON) scripts/system_packages.py poppler-utils
	@$(RUN)/python -m tests.integration.reports.references

limits: setup ## Let many jobs of each kind meet their limits in a row (COUNT=)
	@$(RUN)/python -m tests.chaos.limits_long --count $(COUNT)

check: setup ## Format, lint, types, import contract
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports

fix: setup ## Format, and mend what can be mended by itself
	@$(RUN)/ruff format .
	@$(RUN)/ruff check --fix .

chaos: setup ## Kill the nodes of a RabbitMQ cluster, then let faults happen at random to everything (SEED=, MINUTES=)
	@$(PYTHON) scripts/system_packages.py rabbitmq-server faketime
	@$(RUN)/python -m pytest -m cluster tests/chaos/test_rabbitmq_cluster.py
	@$(RUN)/python -m tests.chaos.storm_long --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

bench: setup ## Measure against bare tools in one run (takes minutes)
	@$(RUN)/python benchmarks/backup.py
	@$(RUN)/python benchmarks/drive.py
	@$(RUN)/python benchmarks/upkeep.py
	@$(RUN)/python benchmarks/swap.py
	@$(RUN)/python benchmarks/reports.py
	@$(RUN)/python benchmarks/web.py --write

bench-queues: setup ## Measure against other task queues (takes half an hour)
	@$(RUN)/python benchmarks/queues.py

.PHONY: help setup demo up test chaos limits references check fix bench bench-queues
