"""Configuration: the root schema, the composition, and the one place that builds components."""
