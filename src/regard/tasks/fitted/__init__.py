"""Models that are fitted at once beside a network, and have a share of what a run predicts."""
