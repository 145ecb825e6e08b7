"""Programs in the order of the flow: prepare, train, evaluate, export, recommend, simulate.

They are thin: the work is done in tfrec_llm, which is imported here so that its Keras guard comes before TensorFlow.
"""

import tfrec_llm  # noqa: F401
