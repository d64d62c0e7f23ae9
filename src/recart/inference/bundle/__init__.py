"""The bundle: a trained model as one folder that may leave the lab, of tensors and JSON alone."""
