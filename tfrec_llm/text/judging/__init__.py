"""What heads answer on test rows, beside TF-IDF, under typos and synonyms, and to intents never seen."""
