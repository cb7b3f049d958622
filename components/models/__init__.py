"""Which models: the list, and the panel that finds one more on the Hub, in a folder or in the demo."""
