#!/usr/bin/env bash
# Sinusoid regression with 5, 10 and 20 points (Finn et al. 2017, section 5.1; Li et al. 2017, table 1):
# errors after 0 to 10 gradient steps of MAML, Meta-SGD, Reptile, the pretrained network and the oracle.
#
#   bash scripts/reproduce_sinusoid.sh                  70,000 iterations each, about an hour per seed
#   BUDGET=short SEEDS=0 bash scripts/reproduce_sinusoid.sh      7,000 iterations each
#
# The report: outputs/reproduce/sinusoid.html and .md. More about BUDGET, SEEDS and DRY: scripts/study.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"

length=()
if [ "$budget" = short ]; then
    length=(train.epochs=7)
fi
study() {
    # 5 points as published: trained with 10
    train sinusoid/maml_10to5 experiment=maml_sinusoid_10shot shots=5 train_shots=10 "${length[@]}"
    train sinusoid/pretrained_5 algo=pretrained dataset=sinusoid shots=5 train_shots=10 "${length[@]}"
    train sinusoid/oracle_5 algo=oracle dataset=sinusoid shots=5 train_shots=10 "${length[@]}"
    for points in 5 10 20; do
        train "sinusoid/maml_$points" "experiment=maml_sinusoid_${points}shot" "${length[@]}"
        train "sinusoid/metasgd_$points" "experiment=metasgd_sinusoid_${points}shot" "${length[@]}"
        train "sinusoid/reptile_$points" algo=reptile dataset=sinusoid "shots=$points" "${length[@]}"
    done
    for points in 10 20; do
        train "sinusoid/pretrained_$points" algo=pretrained dataset=sinusoid "shots=$points" "${length[@]}"
        train "sinusoid/oracle_$points" algo=oracle dataset=sinusoid "shots=$points" "${length[@]}"
    done
}
reproduce sinusoid
