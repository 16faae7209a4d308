"""What the noise viewer reads of a run: recordings, the numbers of each evaluation, branches and questions."""
