#!/usr/bin/env bash
# What each change of MAML++ gives (Antoniou et al. 2019, table 1): MAML, MAML with one of them, and with
# all, on Omniglot, otherwise alike. The images: docs/data.md, or add download=true.
#
#   bash scripts/ablate_mamlpp.sh                 20-way 1-shot, 50,000 iterations of 8 tasks; needs a GPU
#   BUDGET=short bash scripts/ablate_mamlpp.sh    5-way 1-shot, 500 iterations of 8 tasks, 1 % of 50,000
#
# The report: outputs/reproduce/ablation.html and .md. More about BUDGET, SEEDS and DRY: scripts/study.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"

if [ "$budget" = short ]; then
    ways=5
    task=omniglot_5way_1shot # shares its runs with reproduce_omniglot.sh
    length=(train.epochs=10 train.iterations_per_epoch=50 eval.val_episodes=200)
else
    ways=20
    task=omniglot_20way_1shot_ablation
    length=()
fi

# row NAME ARGUMENT...: one row of the table.
row() {
    train "$task/$1" "${@:2}" dataset=omniglot "ways=$ways" shots=1 "${length[@]}"
}

study() {
    row maml algo=maml
    row msl algo=maml algo.msl=true
    row lslr algo=maml algo.lslr=true
    row da algo=maml algo.da=true
    row bnrs_bnwb algo=maml algo.bnrs=true algo.bnwb=true
    row ca algo=maml algo.ca=true
    row mamlpp algo=mamlpp
}
reproduce ablation
