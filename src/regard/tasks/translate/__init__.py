"""Translation: from parallel text to a trained model, scores and alignments."""
