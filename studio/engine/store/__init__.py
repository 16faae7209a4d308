"""The jobs file: what waits and runs, on the disk, so that it outlives the process. No torch."""
