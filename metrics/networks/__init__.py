"""Networks that no library carries, written for inference.

Each module's parameters have exactly the names and shapes of the published weight file, so that
`load_state_dict` takes it; the mathematics is the published model's, and tests compare every
network with its reference implementation on drawn weights. Nothing here reads files, knows of
videos or of scores.
"""
