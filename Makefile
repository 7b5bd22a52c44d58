# Madang's few commands. Only Python 3.11 to 3.14 and make are needed; `make` alone lists them.
# Works with GNU make 3.81 (macOS), so: no grouped targets, no .ONESHELL.

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
CODE   := $(wildcard src tests bench examples)
PYTEST_ARGS ?=
FAULTS_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check format bench faults clean browser nginx node setup

help: ## list these commands
	@printf '\n  \033[1mMadang\033[0m  a messaging server that loses nothing\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "    \033[36mmake %-8s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n'

run: $(VENV)/.ready-to-run ## set up if needed, then start a demo server and print its links
	@$(BIN)/madang demo

test: $(VENV)/.ready-to-develop browser nginx node ## set up if needed, then run every test (PYTEST_ARGS="-k ...")
	@$(BIN)/python -m tests $(PYTEST_ARGS)

check: $(VENV)/.ready-to-develop ## formatter, linter, strict types, import contract
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy --strict $(CODE)
	$(BIN)/lint-imports

format: $(VENV)/.ready-to-develop ## format the code and mend what the linter can mend
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)

bench: $(VENV)/.ready-to-develop ## measure Madang beside its peers; writes bench/RESULTS.md
	$(BIN)/python -m bench

faults: $(VENV)/.ready-to-develop ## a thousand faults while people talk (FAULTS_ARGS="--faults 100 --seed 7")
	$(BIN)/python -m tests.faults $(FAULTS_ARGS)

setup: $(VENV)/.ready-to-develop ## only set up the virtual environment, with all development tools

clean: ## remove the virtual environment and all caches (your data directory stays)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up, repeated only when pyproject.toml or constraints.txt changed -------------------------

# The plain python3 where it is new enough, else the newest that is.
$(BIN)/python:
	@fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'; \
	found=; \
	for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c "$$fits" >/dev/null 2>&1; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Madang needs Python 3.11, 3.12, 3.13 or 3.14, and none was found: install one and run make again." >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	  echo "$$found cannot make virtual environments: on Debian or Ubuntu run 'apt-get install python3-venv', then make again." >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$found" --version) ..."; \
	"$$found" -m venv --clear $(VENV)

# No build isolation: the build backend is pinned in constraints.txt like everything else.
$(VENV)/.ready-to-run: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing (about 20 s, once) ..."
	@$(PIP) install --quiet --constraint constraints.txt hatchling editables
	@$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable .
	@touch $@

$(VENV)/.ready-to-develop: $(VENV)/.ready-to-run
	@echo "Installing the development tools ..."
	@$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

# The console is tested in a real browser: Chromium or Chrome, installed here on Debian if missing.
browser:
	@for name in chromium chromium-browser google-chrome google-chrome-stable \
	    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
	    "/Applications/Chromium.app/Contents/MacOS/Chromium"; do \
	  if command -v "$$name" >/dev/null 2>&1; then exit 0; fi; \
	done; \
	sudo=; \
	if [ "$$(id -u)" != 0 ]; then sudo='sudo -n'; fi; \
	if command -v apt-get >/dev/null 2>&1 && { [ -z "$$sudo" ] || $$sudo true >/dev/null 2>&1; }; then \
	  echo "Installing Chromium for the browser tests ..."; \
	  $$sudo apt-get update -qq && \
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null && exit 0; \
	fi; \
	echo "The browser tests need Chromium or Chrome and it could not be installed from here: install one (Debian: 'apt-get install chromium') and run make again." >&2; \
	exit 1

# Nodes are tested behind a real nginx: the machine's, or Debian's package, unpacked and not
# installed, so that no service of the machine changes.
nginx: $(VENV)/.ready-to-develop
	@PATH="$$PATH:/usr/sbin"; \
	if command -v nginx >/dev/null 2>&1 || [ -x $(VENV)/nginx/usr/sbin/nginx ]; then exit 0; fi; \
	fetch() { (cd $(VENV) && rm -f nginx_*.deb && apt-get download -qq nginx >/dev/null 2>&1); }; \
	sudo=; \
	if [ "$$(id -u)" != 0 ]; then sudo='sudo -n'; fi; \
	if command -v apt-get >/dev/null 2>&1; then \
	  echo "Unpacking nginx for the tests of several nodes ..."; \
	  { fetch || { $$sudo apt-get update -qq && fetch; }; } && \
	  dpkg -x $(VENV)/nginx_*.deb $(VENV)/nginx && rm -f $(VENV)/nginx_*.deb && exit 0; \
	fi; \
	echo "The tests of several nodes need nginx and it could not be had from here: install it (Debian: 'apt-get install nginx') and run make again." >&2; \
	exit 1

# Published clients of protocols that Madang speaks, to test it with; npm brings them by their names.
NODE_CLIENTS := tus-js-client@4.3.1

node: $(VENV)/.ready-to-develop
	@stamp="$(VENV)/node/.has-$$(echo '$(NODE_CLIENTS)' | tr ' @/' '___')"; \
	if [ -e "$$stamp" ]; then exit 0; fi; \
	if ! command -v npm >/dev/null 2>&1; then \
	  echo "The tests of published clients need Node and npm: install them (Debian: 'apt-get install nodejs npm') and run make again." >&2; exit 1; \
	fi; \
	echo "Installing the clients to test with ..."; \
	mkdir -p $(VENV)/node && \
	npm install --prefix $(VENV)/node --no-save --no-package-lock --no-fund --no-audit --ignore-scripts --silent $(NODE_CLIENTS) && \
	touch "$$stamp"
