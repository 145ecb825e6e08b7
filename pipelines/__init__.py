"""Programs in the order of the flow: prepare, train, evaluate, export, recommend, simulate.

They are thin: the work is done in tfrec_llm.
"""
