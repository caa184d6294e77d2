"""Middle floor: the questions asked of a checkpoint."""
