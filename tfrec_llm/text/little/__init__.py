"""Ways to learn from few labels: contrast, self-training, a list of what to label next. Used by the text stage."""
