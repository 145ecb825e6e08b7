"""A run's settings: the sections, and the strict TOML reader. Imports no TensorFlow."""

from tfrec_llm.config.learn import Learn
from tfrec_llm.config.reader import Component, ConfigError, build, choose, setting, to_table
from tfrec_llm.config.sections import (
    Behaviour,
    Config,
    Data,
    Evaluate,
    Export,
    Fusion,
    Gate,
    Modalities,
    Ranking,
    Retrieval,
    Simulate,
    Text,
    Train,
    load,
)
from tfrec_llm.config.serving import Serving
from tfrec_llm.config.text import Augment, Little, Regularise, Slots

__all__ = [
    "Augment",
    "Behaviour",
    "Component",
    "Config",
    "ConfigError",
    "Data",
    "Evaluate",
    "Export",
    "Fusion",
    "Gate",
    "Learn",
    "Little",
    "Modalities",
    "Ranking",
    "Regularise",
    "Retrieval",
    "Serving",
    "Simulate",
    "Slots",
    "Text",
    "Train",
    "build",
    "choose",
    "load",
    "setting",
    "to_table",
]
