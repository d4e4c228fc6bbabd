"""Training: the loop, checkpoints, optimizers, schedules, several processes, logs and reports."""
