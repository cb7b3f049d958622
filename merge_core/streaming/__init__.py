"""A plan's inputs as float32 task vectors, piece by piece, on all cores and within a memory budget."""
