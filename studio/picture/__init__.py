"""A picture as a file: decoded, framed, masked, described and kept. PIL, no torch."""
