#!/usr/bin/env bash
# Word alignment by the attention of translation models: trains a model for each direction of German–English (Multi30k)
# and English–French (Tatoeba), then scores their links beside those of eflomal, learned from the same texts.
#   benchmarks/alignment.sh FOLDER_WITH_THE_DATA [RUNS_FOLDER]
# The folder holds multi30k, tatoeba_en_fr and alignments.
set -euo pipefail
data=$1 runs=${2:-runs/alignment} here=$(dirname "$0")
python "$here/alignment_corpora.py" "$data" "$runs/corpora"
for pair in deen enfr; do
  for direction in "" .reversed; do
    regard train translate "$runs/$pair$direction" --config "$here/alignment.yaml" \
      --data.train "$runs/corpora/$pair/train$direction.tsv" --data.valid "$runs/corpora/$pair/valid$direction.tsv"
  done
done
python "$here/alignment.py" "$data/alignments" "$runs"
