"""New patients: embeddings, predictions with their spread, and flags, from a run alone."""
