"""What the command line shows, apart from its arguments: see `merge_core.__main__`."""
