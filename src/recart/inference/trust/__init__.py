"""What a model knows of its own limits: prediction sets, unlike patients, refusals with reasons."""
