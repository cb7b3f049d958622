"""Where tensors stand in a network, told by their names: layers, the order data flows, what answers to what."""
