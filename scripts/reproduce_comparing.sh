#!/usr/bin/env bash
# Learners that compare (docs/comparing.md) on Omniglot and Mini-ImageNet: ProtoNet, Matching, Relation and
# Siamese networks, the Neural Statistician; at the short budget also nearest neighbour.
# The images: docs/data.md.
#
#   bash scripts/reproduce_comparing.sh                 the papers' settings; days without a GPU
#   BUDGET=short bash scripts/reproduce_comparing.sh    600 updates of one episode, 3 % of 20,000
#
# The short runs on Omniglot have 120 pictures in every update, in episodes as each paper makes them; then
# ProtoNet trained 5-way, 20-way and 60-way. On Mini-ImageNet: 250 updates.
# The report: outputs/reproduce/comparing.html and .md. More about BUDGET, SEEDS and DRY: scripts/study.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"

turned=(dataset.rotations=classes dataset.rotate_test=true dataset.invert=true)
once=(train.tasks_per_batch=1 eval.ensemble=1 eval.bn_stats=running queries=15)

omniglot() {
    train "comparing/omniglot_5way_1shot/$1" dataset=omniglot ways=5 shots=1 "${turned[@]}" "${once[@]}" \
        train.epochs=6 train.iterations_per_epoch=100 eval.val_episodes=100 "${@:2}"
}

mini_imagenet() {
    train "comparing/mini_imagenet_5way_1shot/$1" dataset=mini_imagenet ways=5 shots=1 "${once[@]}" \
        backbone=conv4_protonet train.epochs=5 train.iterations_per_epoch=50 eval.val_episodes=100 \
        "${@:2}"
}

study() {
    if [ "$budget" = short ]; then
        omniglot protonet algo=protonet backbone=conv4_protonet train_ways=20 train_queries=5
        omniglot matching algo=matching backbone=conv4_protonet train_ways=20 train_queries=5
        omniglot relation algo=relation train_ways=20 train_queries=5
        omniglot siamese algo=siamese backbone=conv4_protonet train_ways=60 train_queries=1
        omniglot neural_statistician algo=neural_statistician backbone=conv4_protonet \
            train_ways=24 train_queries=4 train.grad_clip=0.5
        omniglot nearest_neighbour algo=nearest_neighbour backbone=conv4_protonet train_ways=20 \
            train_queries=5
        for ways in 5 60; do
            omniglot "protonet_${ways}way" algo=protonet backbone=conv4_protonet \
                "train_ways=$ways" train_queries=5
        done
        mini_imagenet protonet algo=protonet train_ways=20
        mini_imagenet matching algo=matching algo.attention=classes
        mini_imagenet matching_fce algo=matching algo.attention=classes algo.fce=true
        return
    fi
    train omniglot/protonet experiment=protonet_omniglot_60way_1shot
    for task in omniglot_5way_1shot omniglot_5way_5shot omniglot_20way_1shot omniglot_20way_5shot; do
        train "$task/matching" "experiment=matching_$task"
        train "$task/relation" "experiment=relation_$task"
    done
    train omniglot/siamese experiment=siamese_omniglot_5way_1shot
    train omniglot/neural_statistician experiment=neural_statistician_omniglot_5way_1shot
    for shots in 1 5; do
        task=mini_imagenet_5way_${shots}shot
        train "$task/protonet" "experiment=protonet_$task"
        train "$task/matching" "experiment=matching_$task"
        train "$task/matching_fce" "experiment=matching_${task}_fce"
        train "$task/relation" "experiment=relation_$task"
    done
}
reproduce comparing
