#!/usr/bin/env bash
# WikiText-2: trains a Transformer, an LSTM that attends to its past states, and the same LSTM without attention, for five
# minutes each. Only valid.txt and test.txt were available: the models train on valid.txt, whose last tenth selects the
# checkpoint, and are scored on test.txt.
#   benchmarks/wikitext.sh FOLDER [RUNS_FOLDER]
set -euo pipefail
data=$1 runs=${2:-runs/wikitext}
here=$(dirname "$0")
declare -A options=(
  [transformer]="--model.kind transformer"
  [lstm]="--model.kind lstm --model.layers 1"
  [lstm-plain]="--model.kind lstm --model.layers 1 --model.no-attention"
)
for name in transformer lstm lstm-plain; do
  echo "$name"
  regard train generate "$runs/$name" --config "$here/wikitext.yaml" --data.train "$data/valid.txt" ${options[$name]}
  regard eval "$runs/$name" --data "$data/test.txt"
done
