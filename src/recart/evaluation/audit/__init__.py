"""The audit: checks that a run does not leak, each with its evidence."""
