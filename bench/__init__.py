"""Making videos: prompts, packing, samplers, generators and the study folder."""
