"""What a model is: one file a family, which says all that the studio knows of it. Plain values, no torch."""
