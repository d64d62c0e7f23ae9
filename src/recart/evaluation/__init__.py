"""Patient-level evaluation: metrics, intervals, baselines and what may be claimed."""
