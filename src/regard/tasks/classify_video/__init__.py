"""Video classification: train a classifier on labelled clips, classify others, and see which moments decided."""
