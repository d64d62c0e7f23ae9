"""Sweeps: configurations are searched on inner folds, and scored once outside."""
