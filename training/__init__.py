"""Makes the built-in model `models/small-world-128` from nothing. Imports `studio.diffusion`; never imported by it."""
