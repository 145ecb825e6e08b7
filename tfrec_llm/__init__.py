"""tfrec_llm: a recommender that hears, remembers, finds, decides and learns. See README.md for the flow."""

from tfrec_llm._keras import keep_quiet, use_keras_2

use_keras_2()
keep_quiet()
