"""Ranking: order many candidates, such as items or images, by how well they fit an input."""
