"""Raw files -> interactions, catalogue, utterances, splits: the nouns that every later stage reads."""
