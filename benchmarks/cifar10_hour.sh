#!/usr/bin/env bash
# CIFAR-10: what an hour of the whole machine gives, validations included; then the test pictures.
#   benchmarks/cifar10_hour.sh FOLDER [RUNS_FOLDER]
# FOLDER holds train.tar.xz and test.tar.xz, a folder a class in each. A process on each core, for threads share small
# convolutions badly.
set -euo pipefail
data=$1 run=${2:-runs/cifar10}/hour
OMP_NUM_THREADS=1 torchrun --nproc-per-node "$(nproc)" -m regard train image "$run" \
  --config "$(dirname "$0")/cifar10_hour.yaml" --data.train "$data/train.tar.xz"
regard eval "$run" --data "$data/test.tar.xz"
