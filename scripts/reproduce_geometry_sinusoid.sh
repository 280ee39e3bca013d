#!/usr/bin/env bash
# Learned geometry on the sinusoid: T-net and MT-net against MAML, trained with 10 points and tested with 5,
# 10 and 20 (Lee & Choi 2018, table 1), and CAVIA with 1 to 5 contexts (Zintgraf et al. 2019, table 1).
#
#   bash scripts/reproduce_geometry_sinusoid.sh                 60,000 x 4 and 50,000 x 25 tasks, half an hour per seed
#   BUDGET=short SEEDS=0 bash scripts/reproduce_geometry_sinusoid.sh        a tenth of it
#
# The report: outputs/reproduce/geometry_sinusoid.html and .md. More about BUDGET, SEEDS and DRY: scripts/study.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"

epochs() {
    if [ "$budget" = short ]; then
        echo "train.epochs=$(($1 / 10))"
    else
        echo "train.epochs=$1"
    fi
}

study() {
    local algo contexts points
    for algo in maml tnet mtnet; do
        train "geometry_sinusoid/$algo" "algo=$algo" dataset=sinusoid "$(epochs 60)" train.tasks_per_batch=4
        for points in 5 20; do
            test_again "geometry_sinusoid/$algo" "points$points" "shots=$points"
        done
    done
    for contexts in 5 1 2 3 4; do
        train "geometry_sinusoid/cavia_$contexts" algo=cavia dataset=sinusoid "algo.contexts=$contexts" "$(epochs 50)"
    done
}
reproduce geometry_sinusoid
