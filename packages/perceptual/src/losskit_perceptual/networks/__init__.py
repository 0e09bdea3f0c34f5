"""Networks that perceptual losses look through."""
