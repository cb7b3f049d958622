"""The few hot loops, each compiled, each beside its plain numpy meaning (`…_plain`); tests compare them bit for bit."""
