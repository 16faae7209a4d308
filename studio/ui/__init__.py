"""The page: gradio and our own stage, no torch. What is shown comes from events, what is asked leaves as requests."""
