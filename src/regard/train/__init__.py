"""Training: loop, checkpoints, schedule, several processes, progress."""
