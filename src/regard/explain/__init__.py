"""Pictures and figures of what a model attended to."""
