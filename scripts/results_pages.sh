#!/usr/bin/env bash
# Writes the tables of docs/runs.md and docs/papers.md anew, from the results that docs/results/ keeps.
#
#   cp outputs/.../results.json docs/results/NAME.json     # a run more
#   bash scripts/results_pages.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$root"

# tables PAGE ARGUMENT...: replaces what stands below the page's mark.
tables() {
    local text
    text=$("$venv/bin/maml-report" docs/results "${@:2}" --format markdown)
    sed -i '/^<!-- tables -->$/q' "docs/$1.md"
    printf '%s\n' "$text" >>"docs/$1.md"
}
set_up
tables runs
tables papers --papers
