#!/usr/bin/env bash
# Sets up .venv, then lints, checks types and tests, a process per core; arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
set_up dev
cd "$root"
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/mypy"
"$venv/bin/python" -m pytest --numprocesses auto --dist worksteal "$@"
