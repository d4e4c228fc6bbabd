"""Text classification: train a classifier on labelled texts, classify others, and see which words decided."""
