"""Latent Studio: make pictures with Stable Diffusion and see how it works."""

__version__ = "0.2.0"
