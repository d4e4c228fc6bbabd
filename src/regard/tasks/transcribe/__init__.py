"""Transcription: from recordings with their texts to a trained model, error rates, word times and alignments."""
