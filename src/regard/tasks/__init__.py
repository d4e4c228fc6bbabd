"""Tasks for which models with attention are trained: see `regard.tasks.table`."""
