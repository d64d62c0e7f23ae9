"""TOTALVI of scvi-tools: its weights as a starting encoder, and a member as a TOTALVI."""
