"""What an agent is built for."""

from typing import NamedTuple


class AgentShape(NamedTuple):
    """The widths that an agent's weights depend on, and its seed."""

    context_dim: int  # C
    feature_dim: int  # F
    num_candidates: int  # K at most
    prior: int = -1  # which feature is the blend probability; -1 = there is none
    seed: int = 0
    slate: int = 1  # n, items shown together
