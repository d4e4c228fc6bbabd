#!/usr/bin/env bash
# Tiny Shakespeare by characters: the best loss that thirty minutes give, validations included. nanoGPT's figure for a GPU,
# with three times the parameters and thirty times the work, is 1.4697.
#   benchmarks/shakespeare_30.sh input.txt [RUNS_FOLDER]
# The first nine tenths train, the last one validates, as there.
set -euo pipefail
text=$1 runs=${2:-runs/shakespeare}
regard train generate "$runs/thirty" --config "$(dirname "$0")/shakespeare_30.yaml" --data.train "$text"
regard eval "$runs/thirty"
regard generate "$runs/thirty" "ROMEO:" --tokens 300 --seed 1
