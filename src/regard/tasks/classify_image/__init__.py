"""Image classification: train a classifier on labelled images, classify others, and see where the model looked."""
