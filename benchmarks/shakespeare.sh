#!/usr/bin/env bash
# Tiny Shakespeare by characters, in the setting of nanoGPT's config for CPUs (4 layers, 4 heads, 128 wide, context 64,
# batch 12, 2,000 steps): on regard's kernels and on PyTorch's fused attention, one after the other.
#   benchmarks/shakespeare.sh input.txt [RUNS_FOLDER]
# The first nine tenths train, the last one validates, as there.
set -euo pipefail
text=$1 runs=${2:-runs/shakespeare}
for backend in cpu torch; do
  echo "backend $backend"
  REGARD_BACKEND=$backend regard train generate "$runs/$backend" --config "$(dirname "$0")/shakespeare.yaml" --data.train "$text"
done
