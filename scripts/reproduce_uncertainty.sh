#!/usr/bin/env bash
# What Bayesian learners know of their errors, beside MAML with a fitted variance of the noise:
#
# - noisy sinusoids: likelihood and coverage of the bands;
# - a sine wave or a line, from five noisy points (Finn, Xu & Levine 2018);
# - BMAML's sinusoids, from 100 or 1,000 fixed tasks (Yoon et al. 2018, section 5.1).
#
#   bash scripts/reproduce_uncertainty.sh                  the published lengths, hours per seed
#   BUDGET=short SEEDS=0 bash scripts/reproduce_uncertainty.sh     a twentieth of them
#
# The report: outputs/reproduce/uncertainty.html and .md. More about BUDGET, SEEDS and DRY: scripts/study.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"
report=(--calibration)

# iterations COUNT: of the published length, in thousands; an epoch for each, or for each ten in a short budget.
iterations() {
    length=("train.epochs=$1" train.iterations_per_epoch=1000 train.tasks_per_batch=10)
    if [ "$budget" = short ]; then
        length=("train.epochs=$(($1 / 10))" train.iterations_per_epoch=500 train.tasks_per_batch=10)
    fi
}

# three_learners NAME ARGUMENT...: MAML, PLATIPUS from that run, BMAML with ten particles by both losses, and with one.
three_learners() {
    local name=$1
    shift
    train "$name/maml" algo=maml algo.inner_steps=5 algo.inner_lr=0.01 eval.inner_steps=5 "$@"
    local start=outputs/reproduce/$budget/$name/maml/seed$seed
    train "$name/platipus" algo=platipus "algo.start=$start" eval.inner_steps=5 "$@"
    train "$name/bmaml" algo=bmaml algo.outer=query eval.inner_steps=1 "$@"
    train "$name/bmaml_chaser" algo=bmaml algo.outer=chaser eval.inner_steps=1 "$@"
    train "$name/bmaml_one" algo=bmaml algo.outer=query algo.particles=1 eval.inner_steps=1 "$@"
}

study() {
    local length tasks points
    iterations 70
    three_learners uncertainty/noisy dataset=sinusoid dataset.name=noisy_sinusoid dataset.noise=0.3 "${length[@]}"
    three_learners uncertainty/wave_or_line dataset=sinusoid_or_line "${length[@]}"
    iterations 100
    local waves=(
        dataset=sinusoid dataset.name=bmaml_sinusoid dataset.min_frequency=0.5 dataset.max_frequency=2.0
        dataset.max_phase=6.283185307179586 dataset.noise=0.01 dataset.relative_noise=true
        dataset.noisy_queries=false "backbone.hidden=[40,40,40]" backbone.weight_init=uniform
        eval.inner_steps=1 "${length[@]}"
        train.patience=30 # few fixed tasks are soon learnt by heart, and validation gets worse
    )
    for tasks in 100 1000; do
        for points in 5 10; do
            local here=("${waves[@]}" "train.task_pool=$tasks" "shots=$points" "queries=$points")
            train "uncertainty/${tasks}_$points/maml" algo=maml "${here[@]}"
            train "uncertainty/${tasks}_$points/bmaml" algo=bmaml algo.outer=query "${here[@]}"
            train "uncertainty/${tasks}_$points/bmaml_chaser" algo=bmaml algo.outer=chaser "${here[@]}"
            train "uncertainty/${tasks}_$points/bmaml_one" algo=bmaml algo.outer=query algo.particles=1 "${here[@]}"
        done
    done
}
reproduce uncertainty
