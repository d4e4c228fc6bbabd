#!/usr/bin/env bash
# Tiny Shakespeare by characters: trains for thirty minutes, validations included, and prints the loss. nanoGPT reports
# 1.4697 for a GPU, with three times the parameters and thirty times the work.
#   benchmarks/shakespeare_30.sh input.txt [RUNS_FOLDER]
# As in nanoGPT, the first nine tenths of the text are for training and the last tenth is for validation.
set -euo pipefail
text=$1 runs=${2:-runs/shakespeare}
regard train generate "$runs/thirty" --config "$(dirname "$0")/shakespeare_30.yaml" --data.train "$text"
regard eval "$runs/thirty"
regard generate "$runs/thirty" "ROMEO:" --tokens 300 --seed 1
