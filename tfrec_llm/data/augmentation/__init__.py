"""Training texts in other words, and test texts with slips. Used by `text`."""
