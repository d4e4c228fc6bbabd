#!/usr/bin/env bash
# Multi30k: trains the Transformer for forty minutes on a pair of languages, and scores it.
#   benchmarks/multi30k_transformer.sh FOLDER_WITH_MULTI30K [SOURCE] [TARGET] [RUNS_FOLDER]
# The folder holds train, val, test_2016_flickr and test_2017_flickr of each language, as .gz. The default is en to fr.
set -euo pipefail
data=$1 from=${2:-en} to=${3:-fr} runs=${4:-runs/multi30k}
run="$runs/transformer-$from-$to"
regard train translate "$run" --config "$(dirname "$0")/multi30k_transformer.yaml" \
  --data.train "$data/train.$from.gz,$data/train.$to.gz" --data.valid "$data/val.$from.gz,$data/val.$to.gz"
for test in test_2016_flickr test_2017_flickr; do
  echo "$from to $to, $test"
  regard eval "$run" --data "$data/$test.$from.gz,$data/$test.$to.gz" --beam 5
done
