#!/usr/bin/env bash
# Sets up .venv, then lints, checks types and tests, a process per core; arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
set_up dev
cd "$root"
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
types=$(mktemp)
trap 'rm -f "$types"' EXIT
"$venv/bin/mypy" >"$types" 2>&1 & # beside the tests, which often wait
checking=$! failed=0
"$venv/bin/python" -m pytest --numprocesses auto --dist worksteal "$@" || failed=$?
wait "$checking" || failed=$?
cat "$types"
exit "$failed"
