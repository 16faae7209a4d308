"""The tab Learn: latent diffusion as one machine and ten chapters."""
