#!/usr/bin/env bash
# The runs at full published budgets, from the cheapest upwards, in outputs/long/. Called again, it skips
# what is finished and goes on with what was interrupted; it needs days.
#
#   MAML_DATA_DIR=DIR nice -n 19 bash scripts/long_runs.sh            all of them
#   MAML_DATA_DIR=DIR nice -n 19 bash scripts/long_runs.sh protonet   those whose name holds the word
#   bash scripts/long_runs.sh --left                                  what is left, with its progress
#
# The sinusoids at full budgets are those of scripts/reproduce_sinusoid.sh, an hour per seed.
# A run that has no checkpoint here goes on from those in docs/results/long/NAME/, if there are any.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$root"
only=${1:-}
names=()

# left NAME: whether the results are missing; says how far the run is.
left() {
    local folder=outputs/long/$1
    names+=("$1")
    [ ! -f "$folder/results.json" ] || return 1
    [[ $only == --left || $1 == *"$only"* ]] || return 1
    local reached
    reached=$(grep -o '"iteration": [0-9]*' "$folder/metrics.jsonl" 2>/dev/null | tail -1 || true)
    echo "$1: ${reached:-not begun}"
    [ "$only" != --left ]
}

# long NAME ARGUMENT...: one training.
long() {
    if left "$1"; then
        local checkpoints=outputs/long/$1/checkpoints kept=docs/results/long/$1
        if [ ! -d "$checkpoints" ] && [ -d "$kept" ]; then
            mkdir -p "$checkpoints"
            cp "$kept"/*.pt "$checkpoints"
        fi
        "$venv/bin/maml-train" "${@:2}" "hydra.run.dir=outputs/long/$1"
    fi
}

# cell NAME TEST ARGUMENT...: another test of a finished training.
cell() {
    if [ -f "outputs/long/$1/results.json" ] && left "$1/eval/$2"; then
        "$venv/bin/maml-eval" "run=outputs/long/$1" "${@:3}" "output=outputs/long/$1/eval/$2"
    fi
}

[ "$only" = --left ] || set_up ""
long protonet_omniglot_60way_1shot experiment=protonet_omniglot_60way_1shot
for ways in 5 20; do
    for shots in 1 5; do
        cell protonet_omniglot_60way_1shot "${ways}way_${shots}shot" \
            "ways=$ways" "shots=$shots" eval.test_episodes=1000
    done
done
long mamlpp_omniglot_5way_1shot experiment=mamlpp_omniglot_5way_1shot_official_code
long maml_omniglot_5way_1shot experiment=maml_omniglot_5way_1shot
long mamlpp_omniglot_20way_1shot experiment=mamlpp_omniglot_20way_1shot_official_code
if [[ -n $only && $only != --left && ${names[*]} != *"$only"* ]]; then
    echo "error: no run has $only in its name; the names are ${names[*]}" >&2
    exit 2
fi
