"""The few hot loops, each compiled, each beside its plain numpy meaning (`…_plain`); tests compare the two bit for bit."""
