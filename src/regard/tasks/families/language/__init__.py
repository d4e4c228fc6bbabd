"""Language models: they predict each token of a text from those before it, and continue a text."""
