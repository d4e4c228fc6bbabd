"""Data: readers of users' files, tokenizers, batches, the built-in corpus."""
