#!/usr/bin/env bash
# Multi30k English to French: trains and scores the recurrent translator with and without attention, in the same way.
#   benchmarks/multi30k.sh FOLDER_WITH_MULTI30K [RUNS_FOLDER]
# The folder holds train, val, test_2016_flickr and test_2017_flickr, each as .en.gz and .fr.gz.
set -euo pipefail
data=$1 runs=${2:-runs/multi30k}
for attention in additive none; do
  regard train translate "$runs/$attention" --model.attention $attention --config "$(dirname "$0")/multi30k.yaml" \
    --data.train "$data/train.en.gz,$data/train.fr.gz" --data.valid "$data/val.en.gz,$data/val.fr.gz"
  for test in test_2016_flickr test_2017_flickr; do
    echo "attention $attention, $test"
    regard eval "$runs/$attention" --data "$data/$test.en.gz,$data/$test.fr.gz" --beam 5
  done
done
