"""The tab Noise viewer, and its page without a studio."""
