# Two commands: `make replay` plays every scenario, `make test` passes the tests; `make test-slow` those that take longer.
#
# Each sets up what it needs in .venv, given Python with its venv module.
#   PYTHON=python3.12   which Python the virtual environment is made of
#   SETUP=none          use PYTHON as it is: install nothing, touch no network (how a distribution builds)
#   ARGS='…'            handed on: `make test ARGS='-k history'`, `make replay ARGS='-v'`

PYTHON ?= python3
SETUP ?= venv
VENV ?= .venv
ARGS ?=

ifeq ($(SETUP),none)
RUN := $(PYTHON)
READY := packages
WORKERS ?=
else
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
WORKERS ?= -n 2
endif

.PHONY: replay test test-slow benchmarks mutants clean packages

replay: $(READY)
	@$(RUN) -m hydra_notify_sim replay scenarios $(ARGS)

test: $(READY)
	@$(RUN) -m pytest $(WORKERS) -m "not slow" $(ARGS)

test-slow: $(READY)
	@$(RUN) -m pytest $(WORKERS) -m slow $(ARGS)

benchmarks: $(READY)
	@$(RUN) -m benchmarks $(ARGS)

# Plays the stories against mutants of the reference dispatcher and writes docs/mutants.md; an hour or more.
mutants: $(READY)
	@$(RUN) -m benchmarks.mutants $(ARGS)

$(VENV)/.ready: pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) comes without its venv module. Install the package that has it (Debian, Ubuntu: python3-venv), or use SETUP=none." >&2; exit 2; }
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[postgres,test]'
	@touch $@

packages:
	@lacking=$$($(PYTHON) -c 'import importlib.util as u, sys; sys.exit(" ".join(m for m in sys.argv[1:] if not u.find_spec(m)) or 0)' \
	  click faker hypothesis msgspec prometheus_client psycopg pydantic pytest rich ruamel typing_extensions 2>&1) || { \
	  echo "SETUP=none takes $(PYTHON) as it is, and it lacks: $$lacking. Install them for it, or leave SETUP=none away." >&2; exit 2; }

clean:
	rm -rf $(VENV) build dist *.egg-info
