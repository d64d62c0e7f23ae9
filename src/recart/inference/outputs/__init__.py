"""What totalVI's users ask of a model: denoised values, foreground, samples, checks, contrasts."""
