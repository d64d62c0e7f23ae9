"""Training: stacks of members, their jobs, files and run directory."""
