#!/usr/bin/env bash
# CIFAR-10: trains for an hour on all cores, validations included, and scores the model on the test images.
#   benchmarks/cifar10_hour.sh FOLDER [RUNS_FOLDER]
# FOLDER holds train.tar.xz and test.tar.xz; each has one folder per class. There is one process per core, because small
# convolutions gain little from a second thread.
set -euo pipefail
data=$1 run=${2:-runs/cifar10}/hour
OMP_NUM_THREADS=1 torchrun --nproc-per-node "$(nproc)" -m regard train classify-image "$run" \
  --config "$(dirname "$0")/cifar10_hour.yaml" --data.train "$data/train.tar.xz"
regard eval "$run" --data "$data/test.tar.xz"
