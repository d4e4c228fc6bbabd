"""Sound classification: train a classifier on labelled sounds, classify others, and see which moments decided."""
