#!/usr/bin/env bash
# Tiny Shakespeare by characters, with the settings of nanoGPT's example for CPUs (4 layers of 128, 4 heads, context 64,
# batch 12, 2,000 steps): first with regard's C++ kernels, then with PyTorch's fused attention.
#   benchmarks/shakespeare.sh input.txt [RUNS_FOLDER]
# As in nanoGPT, the first nine tenths of the text are for training and the last tenth is for validation.
set -euo pipefail
text=$1 runs=${2:-runs/shakespeare}
for backend in cpu torch; do
  echo "backend $backend"
  REGARD_BACKEND=$backend regard train generate "$runs/$backend" --config "$(dirname "$0")/shakespeare.yaml" --data.train "$text"
done
