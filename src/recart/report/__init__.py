"""The page a user opens: figures, tables and plain words about one evaluated run."""
