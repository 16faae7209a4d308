"""What is answered: the typed events of a job, and the protocol between the page and an engine."""
