"""Labelled texts -> heads, alone on frozen vectors or together with the encoder."""
