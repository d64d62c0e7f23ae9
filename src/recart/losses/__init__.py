"""Likelihoods and divergences of the encoder, and the loss of the response head."""
