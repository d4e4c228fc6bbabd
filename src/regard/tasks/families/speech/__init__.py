"""Tasks from sounds to text: recordings as batches, joint search with CTC, word times, error rates."""
