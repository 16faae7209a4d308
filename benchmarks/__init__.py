"""How fast, how much memory: measured on demand, never by a test. Each prints JSON on its last line."""
