"""Receptors: chains of cells -> clonotypes of patients -> one embedding per clonotype."""
