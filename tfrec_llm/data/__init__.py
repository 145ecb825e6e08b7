"""Raw files -> interactions, catalogue, utterances, splits: the nouns that every later stage reads."""

from tfrec_llm.data.domains import domain_names, load_domain

__all__ = ["domain_names", "load_domain"]
