#!/usr/bin/env bash
# Mini-ImageNet, 5-way 1-shot and 5-shot (Finn et al. 2017, table 1; Antoniou et al. 2019, table 2; Li et
# al. 2017, table 3; Nichol et al. 2018, table 1): MAML, its first-order form, MAML++, Meta-SGD, Reptile;
# at the short budget every learner of images, the slowest last, all on equal tasks. You bring the images: docs/data.md.
# With a part of them, add dataset.allow_incomplete=true; the report marks it.
#
#   bash scripts/reproduce_mini_imagenet.sh                 the papers' settings; needs a GPU
#   BUDGET=short bash scripts/reproduce_mini_imagenet.sh    5-way 1-shot, 250 iterations, 0.5 % of 50,000
#
# The report: outputs/reproduce/mini_imagenet.html and .md. More about BUDGET, SEEDS and DRY:
# scripts/study.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"

# short ALGO ARGUMENT...: a row of the table of all learners.
short() {
    train "mini_imagenet_5way_1shot/$1" "algo=$1" dataset=mini_imagenet ways=5 shots=1 "${@:2}" train.epochs=5 \
        train.iterations_per_epoch=50 train.tasks_per_batch=2 eval.val_episodes=50 eval.test_episodes=300 \
        eval.ensemble=1
}

study() {
    if [ "$budget" = short ]; then
        for algo in protonet relation matching siamese nearest_neighbour finetune memory_module fomaml metasgd anil \
            boil maml mamlpp reptile alfa metacurvature cavia tnet mtnet bmaml imaml llama platipus; do
            short "$algo"
        done
        short meta_networks backbone=plain_conv_meta_networks # it cannot learn on another network
        return
    fi
    for shots in 1 5; do
        task=mini_imagenet_5way_${shots}shot
        train "$task/maml" "experiment=maml_$task"
        train "$task/fomaml" "experiment=fomaml_$task"
        train "$task/mamlpp" "experiment=mamlpp_${task}_official_code"
        train "$task/metasgd" "experiment=metasgd_$task"
        train "$task/reptile" "experiment=reptile_${task}_transductive" # as the others normalise
    done
}
reproduce mini_imagenet
