"""What tasks of one kind share: reading, training, scoring and using them; a task adds its model and its inputs."""
