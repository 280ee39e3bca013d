#!/usr/bin/env bash
# Learned optimisers (Andrychowicz et al. 2016, figures 4 and 5): losses on quadratics and on an MLP, beside
# optimisers made by hand with tuned rates, and on other networks and numbers of steps than in training.
#
#   bash scripts/reproduce_learned_optimizers.sh                 10,000 and 5,000 meta-updates
#   BUDGET=short SEEDS=0 bash scripts/reproduce_learned_optimizers.sh     2,000 and 500
#   bash scripts/reproduce_learned_optimizers.sh data_dir=/usr/share/datasets     where the images are
#
# IMAGES=fashion_mnist (the default), mnist or drawn: what the MLP is fitted to (docs/optimisers.md).
# The report: outputs/reproduce/learned_optimizers.html and .md. More about BUDGET, SEEDS and DRY: scripts/study.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"

images=${IMAGES:-fashion_mnist}
problem=(dataset=digits_mlp "dataset.images=$images" dataset.start=usual)
quadratics=(train.epochs=100)
mlp=(train.epochs=50)
if [ "$budget" = short ]; then
    quadratics=(train.epochs=20)
    mlp=(train.epochs=5)
fi

# for_all TEST ARGUMENT...: another test of the MLP's optimisers.
for_all() {
    local optimiser
    for optimiser in lstm_optimizer sgd momentum nesterov rmsprop adam; do
        test_again "digits_mlp/$optimiser" "$@"
    done
}
study() {
    train quadratics/lstm_optimizer algo=lstm_optimizer dataset=quadratics algo.ca=true \
        "${quadratics[@]}"
    train digits_mlp/lstm_optimizer algo=lstm_optimizer "${problem[@]}" "${mlp[@]}"
    for optimiser in sgd momentum nesterov rmsprop adam; do
        train "quadratics/$optimiser" "algo=$optimiser" dataset=quadratics
        train "digits_mlp/$optimiser" "algo=$optimiser" "${problem[@]}"
    done
    for_all 200_steps eval.inner_steps=200
    for_all 40_units "dataset.hidden=[40]"
    for_all two_layers "dataset.hidden=[20,20]"
    for_all relu dataset.activation=relu
    if [ "$budget" = full ]; then
        for_all 10000_steps eval.inner_steps=10000 eval.test_episodes=10
    fi
}
reproduce learned_optimizers
