"""Tensors: from words to latents to pixels. Needs torch, diffusers and transformers; knows no disk, page or job."""
