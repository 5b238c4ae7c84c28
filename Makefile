# Each target works in a clean clone with nothing but python3 (3.11 or newer) and make.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test lint plan setup-gpu

export PATH := $(CURDIR)/.venv/bin:$(PATH)
INSTALLED := .venv/.installed

demo: $(INSTALLED)  ## the tiny run: teacher, conversion, distillation, table 1, figures, report page
	@began=$$(date +%s); \
	echo "== demo: running the workflow (config/config.yaml); what each job prints is in results/logs/"; \
	snakemake --profile profiles/local all; \
	echo; cat results/table1.md; echo; \
	echo "== demo: took $$(( $$(date +%s) - began )) s. Table: results/table1.csv, where its numbers are from:" \
	  "results/table1.json, figures: results/figures/, all on one page: results/report.html"

test: $(INSTALLED)  ## all tests
	@began=$$(date +%s); echo "== test: running pytest"; \
	pytest --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder; \
	echo "== test: took $$(( $$(date +%s) - began )) s"

lint: $(INSTALLED)  ## style, types and workflow
	@began=$$(date +%s); echo "== lint: ruff, mypy, snakefmt, snakemake --lint"; \
	ruff check .; \
	ruff format --check .; \
	mypy; \
	snakefmt --check Snakefile rules; \
	snakemake --lint; \
	echo "== lint: took $$(( $$(date +%s) - began )) s"

PAPER := config/paper.yaml config/benchmarks.yaml config/paper_tables.yaml
TABLE := 1
TARGETS := results/table$(TABLE).csv

plan: $(INSTALLED)  ## what a table of the paper would take, in words: make plan TABLE=1, or TARGETS=results/figures/figure4.svg
	@python workflow_scripts/plan.py --configfile $(PAPER) -- $(TARGETS)

$(INSTALLED): pyproject.toml constraints.txt
	@began=$$(date +%s); echo "== setup: creating .venv with the versions of constraints.txt"; \
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: python3 must be 3.11 or newer")'; \
	python3 -m venv .venv; \
	DS_BUILD_OPS=0 python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[dev]'; \
	touch $@; \
	echo "== setup: took $$(( $$(date +%s) - began )) s"

setup-gpu: $(INSTALLED)  ## the same for GPU nodes: torch, the rest, flash-attn last (FLASH_ATTN=no leaves it out), and a check
	@began=$$(date +%s); \
	bash envs/install-gpu.sh; \
	echo "== setup-gpu: took $$(( $$(date +%s) - began )) s"
