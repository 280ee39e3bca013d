# shellcheck shell=bash
# Sourced by the scripts that reproduce the papers' tables: one maml-train call per run, one report.
#
# BUDGET=full    the iterations of the papers (the default); BUDGET=short: a fraction of them, which
#                the report marks wherever such a number stands
# SEEDS="0 1 2"  a run for each of them
# DRY=1          print the commands and do nothing
#
# The arguments of a script go to each of its maml-train calls. Runs lie in outputs/reproduce/BUDGET/;
# a script that is called again skips the finished ones and goes on with one that was interrupted.

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$root" || exit
budget=${BUDGET:-full}
seeds=${SEEDS:-0 1 2}
extra=("$@")
runs=()
report=() # more arguments of maml-report

if [ "$budget" != full ] && [ "$budget" != short ]; then
    echo "error: BUDGET=$budget: choose full or short" >&2
    exit 2
fi
if [ -z "${DRY:-}" ]; then
    set_up ""
fi

# perform COMMAND...: run it, or only print it.
perform() {
    if [ -n "${DRY:-}" ]; then
        printf '%q ' "$@"
        echo
    else
        "$@"
    fi
}

# train NAME ARGUMENT...: one run with the seed that is due.
train() {
    local folder=outputs/reproduce/$budget/$1/seed$seed
    runs+=("$folder")
    perform "$venv/bin/maml-train" "${@:2}" "seed=$seed" "${extra[@]}" "hydra.run.dir=$folder"
}

# test_again NAME TEST ARGUMENT...: another test of that run with the seed that is due.
test_again() {
    local from=outputs/reproduce/$budget/$1/seed$seed
    local to=$from/eval/$2
    runs+=("$to")
    if [ ! -e "$to/results.json" ]; then
        perform "$venv/bin/maml-eval" "run=$from" "${@:3}" "output=$to"
    fi
}

# reproduce NAME: call the script's function `study` for each seed, then report its runs as a page, as
# Markdown and in the terminal.
reproduce() {
    local seed file=outputs/reproduce/$1
    if [ "$budget" = short ]; then
        file+=_short
    fi
    for seed in $seeds; do
        study
    done
    perform "$venv/bin/maml-report" "${report[@]}" "${runs[@]}" --output "$file.html"
    perform "$venv/bin/maml-report" "${report[@]}" "${runs[@]}" --output "$file.md"
    perform "$venv/bin/maml-report" "${report[@]}" "${runs[@]}"
}
