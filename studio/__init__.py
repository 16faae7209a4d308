"""Latent Studio: make pictures with Stable Diffusion and see how it works."""
