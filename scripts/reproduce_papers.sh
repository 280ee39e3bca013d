#!/usr/bin/env bash
# The rows of the papers' tables (docs/papers.md) that the other studies leave out: 5-shot tasks, learners with a memory
# on Omniglot, the baselines and optimisers of Mini-ImageNet. Where a paper tests one model on several tasks, one
# training is tested again. The images: docs/data.md.
#
#   bash scripts/reproduce_papers.sh                 the presets' settings; weeks without a GPU
#   BUDGET=short bash scripts/reproduce_papers.sh    mostly 0.2 to 2 % of their iterations
#
# MAML with 5 shots on Omniglot has MAML++'s network, as in Antoniou et al. 2019.
# The report: outputs/reproduce/papers.html and .md. More about BUDGET, SEEDS and DRY: scripts/study.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"
report=(--papers)

# row ITERATIONS NAME ARGUMENT...: one training; the iterations are those of the short budget.
row() {
    local length=()
    if [ "$budget" = short ]; then
        length=(train.epochs=5 "train.iterations_per_epoch=$(($1 / 5))" eval.val_episodes=50 eval.test_episodes=600
            eval.ensemble=1)
    fi
    train "papers/$2" "${@:3}" "${length[@]}"
}

# if_short ARGUMENT...: the arguments at the short budget, else nothing.
if_short() {
    if [ "$budget" = short ]; then
        echo "$@"
    fi
}

# other_cells NAME: the same weights on the other tasks of the tables.
other_cells() {
    test_again "papers/$1" 5way_5shot shots=5
    test_again "papers/$1" 20way_1shot ways=20
    test_again "papers/$1" 20way_5shot ways=20 shots=5
}

# ablation NAME [TOGGLE...]: MAML, or with one change of MAML++, on 20-way 1-shot tasks.
ablation() {
    row 100 "omniglot_20way_1shot/$1" algo=maml dataset=omniglot ways=20 shots=1 "${@:2}"
}

omniglot() {
    local preset=omniglot_5way_1shot shots
    row 600 siamese experiment=siamese_$preset
    other_cells siamese
    row 600 neural_statistician experiment=neural_statistician_$preset
    other_cells neural_statistician
    row 600 matching_5way_5shot experiment=matching_omniglot_5way_5shot
    row 600 matching_20way_5shot experiment=matching_omniglot_20way_5shot
    row 400 memory_module_5way experiment=memory_module_$preset $(if_short train.tasks_per_batch=4)
    test_again papers/memory_module_5way 5way_5shot shots=5
    row 400 memory_module_20way experiment=memory_module_omniglot_20way_1shot $(if_short train.tasks_per_batch=1)
    test_again papers/memory_module_20way 20way_5shot shots=5
    for shots in 1 5; do
        row 5000 "no_conv_5way_${shots}shot" "experiment=maml_omniglot_5way_${shots}shot_no_conv"
    done
    row 500 snail_5way "experiment=snail_$preset" $(if_short train.tasks_per_batch=8 train.outer_lr=1e-3)
    test_again papers/snail_5way 5way_5shot shots=5
    row 1000 meta_networks_20way experiment=meta_networks_omniglot_20way_1shot
    for ways in 5 20; do
        row $((1500 / ways)) "maml_${ways}way_5shot" algo=maml dataset=omniglot "ways=$ways" shots=5
        row $((1500 / ways)) "mamlpp_${ways}way_5shot" "experiment=mamlpp_omniglot_${ways}way_5shot_official_code"
    done
    ablation maml
    ablation maml_msl algo.msl=true
    ablation maml_lslr algo.lslr=true
    ablation maml_bnrs_bnwb algo.bnrs=true algo.bnwb=true
    ablation maml_ca algo.ca=true
    ablation maml_da algo.da=true
}

mini_imagenet() {
    local shots task baseline
    for baseline in finetune nearest_neighbour; do
        row 500 "mini_imagenet_$baseline" "algo=$baseline" dataset=mini_imagenet ways=5 shots=1
        test_again "papers/mini_imagenet_$baseline" 5shot shots=5
    done
    for shots in 1 5; do
        task=mini_imagenet_5way_${shots}shot
        row 150 "$task/fomaml" "experiment=fomaml_$task"
        row 150 "$task/maml" "experiment=maml_$task"
        row 100 "$task/meta_lstm" "experiment=meta_lstm_${task}_paper"
    done
    row 150 mini_imagenet_5way_5shot/matching_fce experiment=matching_mini_imagenet_5way_5shot_fce
    row 100 mini_imagenet_5way_5shot/mamlpp experiment=mamlpp_mini_imagenet_5way_5shot_official_code
}

study() {
    omniglot
    mini_imagenet
}
reproduce papers
