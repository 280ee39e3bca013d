#!/usr/bin/env bash
# Omniglot, 5-way and 20-way 1-shot (Finn et al. 2017, table 1; Antoniou et al. 2019, table 1; Nichol et
# al. 2018, table 2; Li et al. 2017, table 2): MAML, its first-order form, MAML++, Meta-SGD, Reptile, ANIL;
# at the short budget every learner of images, the slowest last, all on equal tasks.
# The images: docs/data.md, or add download=true.
#
#   bash scripts/reproduce_omniglot.sh                  the papers' settings; days without a GPU
#   BUDGET=short bash scripts/reproduce_omniglot.sh     5-way, 500 iterations of 8 tasks, 1 % of 50,000
#
# The report: outputs/reproduce/omniglot.html and .md. More about BUDGET, SEEDS and DRY: scripts/study.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"

study() {
    if [ "$budget" = short ]; then
        for algo in maml mamlpp fomaml metasgd anil boil reptile finetune nearest_neighbour \
            protonet matching relation siamese memory_module in_context mann bmaml \
            neural_statistician snail alfa metacurvature cavia imaml tnet mtnet \
            platipus llama meta_networks meta_lstm; do
            train "omniglot_5way_1shot/$algo" "algo=$algo" dataset=omniglot ways=5 shots=1 \
                train.epochs=10 train.iterations_per_epoch=50 train.tasks_per_batch=8 \
                eval.val_episodes=200
        done
        return
    fi
    for ways in 5 20; do
        task=omniglot_${ways}way_1shot
        train "$task/maml" "experiment=maml_$task"
        train "$task/fomaml" "experiment=fomaml_$task"
        train "$task/mamlpp" "experiment=mamlpp_${task}_official_code"
        train "$task/metasgd" "experiment=metasgd_$task"
        train "$task/reptile" "experiment=reptile_${task}_transductive" # as the others normalise
        train "$task/anil" algo=anil dataset=omniglot "ways=$ways" shots=1
    done
}
reproduce omniglot
