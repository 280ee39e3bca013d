#!/usr/bin/env bash
# Which inner gradients make Reptile's outer step (Nichol et al. 2018, figure 3): Omniglot 5-way 5-shot.
# The images: docs/data.md, or add download=true.
#
#   bash scripts/reproduce_reptile_gradients.sh                        40,000 iterations of one task for each line
#   BUDGET=short SEEDS=0 bash scripts/reproduce_reptile_gradients.sh   1,000 iterations
#
# As the commands of the official code: k minibatches that do not overlap, plain descent, and an outer rate of
# 0.25 that falls to 0; where gradients are summed, also 0.25 / k. Its rate of 0.003 is for a loss that is
# summed over 25 pictures: 0.075 for their mean. Training minibatches have 20 pictures instead of 25, since a
# class has 20 and one of them is a query here.
# The figure: outputs/reproduce/reptile_gradients.png, or reptile_gradients_short.png. The report lies beside
# it. More about BUDGET, SEEDS and DRY: scripts/study.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"

length=(train.epochs=40 train.iterations_per_epoch=1000 eval.val_episodes=100 eval.test_episodes=600)
if [ "$budget" = short ]; then
    length=(train.epochs=5 train.iterations_per_epoch=200 eval.val_episodes=40 eval.test_episodes=100)
fi

# gradients NAME STEPS WHICH RATE: a line of the figure.
gradients() {
    train "reptile_gradients/$1" experiment=reptile_omniglot_5way_5shot "${length[@]}" \
        train.tasks_per_batch=1 algo.inner_optimizer=sgd algo.carry_moments=false \
        algo.inner_lr=0.075 algo.inner_batch=20 algo.eval_inner_batch=25 eval.inner_steps=5 \
        "algo.inner_steps=$2" "train_shots=$((4 * $2))" "algo.outer_gradients=$3" \
        "train.outer_lr=$4"
}

study() {
    gradients g1 1 sum 0.25
    for steps in 2 3 4; do
        gradients "g$steps" "$steps" last 0.25
        gradients "g1_to_g$steps" "$steps" sum 0.25
    done
    gradients half_g1_to_g2 2 sum 0.125
    gradients third_g1_to_g3 3 sum 0.0833
    gradients quarter_g1_to_g4 4 sum 0.0625
}
reproduce reptile_gradients
suffix=$([ "$budget" = short ] && echo _short || true)
perform "$venv/bin/python" scripts/reptile_gradients.py "${runs[@]}" \
    --out "outputs/reproduce/reptile_gradients$suffix.png"
