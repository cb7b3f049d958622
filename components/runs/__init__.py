"""What was started: the tray of runs, and the scores that a finished one has."""
