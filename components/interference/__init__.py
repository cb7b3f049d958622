"""Where they disagree: the conflict map, its drill-down, and the inspection behind them."""
