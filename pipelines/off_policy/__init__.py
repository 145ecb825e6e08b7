"""Studies of off-policy estimators and gate: real logs with a known answer, synthetic ones, planted policies."""
