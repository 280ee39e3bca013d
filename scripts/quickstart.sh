#!/usr/bin/env bash
# From a fresh clone to a table: sets up .venv, then runs maml-train with the arguments given,
# or, without any, a first experiment of about two minutes.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
set_up
exec "$venv/bin/maml-train" "${@:-experiment=quickstart}"
