"""A job from file to file and database: phases, checkpoints, recovery."""
