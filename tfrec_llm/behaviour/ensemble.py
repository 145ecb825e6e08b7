"""Several behaviour models as one, by `behaviour.ensemble`: their next-item logits are averaged.

A query is the queries of all members side by side, and so is a row of the item table, so that their product is the
mean of the members' logits, and whoever asks need not know that there are several. Deep ensembles are those of
Lakshminarayanan et al. (2017), "Simple and scalable predictive uncertainty estimation using deep ensembles".
"""

from collections.abc import Sequence
from dataclasses import replace

import tensorflow as tf

from tfrec_llm.behaviour.sequence import SequenceModel
from tfrec_llm.config import Config
from tfrec_llm.layers.left_out import LeftOut
from tfrec_llm.types import BehaviourSignals, History, SignalsWithout

FIRST = "behaviour"  # folder in the run of the model itself
_SEED_STEP = 1009  # between members


def members(config: Config) -> list[tuple[str, Config]]:
    """Folder in the run and config of every member, the model itself first; each has a seed of its own."""
    alone = replace(config, behaviour=replace(config.behaviour, ensemble=()))
    found = [(FIRST, alone)]
    for number, model in enumerate(config.behaviour.ensemble, start=1):
        own = replace(alone, seed=config.seed + _SEED_STEP * number, behaviour=replace(alone.behaviour, model=model))
        found.append((f"members/{number}", own))
    return found


def metric_key(name: str) -> str:
    """What the figures of a member begin with, by its folder."""
    return FIRST if name == FIRST else f"{FIRST}.{name.replace('/', '_')}"


class Ensemble(tf.Module):
    """Behaviour models that answer as one.

    Args:
      models: at least one; the state is that of the first, which fusion reads.
    """

    def __init__(self, models: Sequence[SequenceModel]):
        super().__init__(name="behaviours")
        self.models = list(models)

    def signals(self, history: History, request_time: tf.Tensor | None = None) -> BehaviourSignals:
        """As `SequenceModel.signals`, query [B, sum of the members' widths]."""
        return self._joined([model.signals(history, request_time) for model in self.models])

    @property
    def one_pass(self) -> bool:
        """Whether there is `signals_without`: only if every member has it."""
        return all(model.one_pass for model in self.models)

    def signals_without(self, history: History, left: LeftOut) -> SignalsWithout:
        """As `SequenceModel.signals_without`."""
        told, queries, begun = zip(*(model.signals_without(history, left) for model in self.models), strict=True)
        return SignalsWithout(self._joined(told), tf.concat(queries, axis=2) / len(self.models), begun[0])

    def item_table(self) -> tf.Tensor:
        """[N+2, sum of the members' widths]: times the query = mean of the next-item logits."""
        return tf.concat([model.item_table() for model in self.models], axis=1)

    def _joined(self, told: Sequence[BehaviourSignals]) -> BehaviourSignals:
        count = len(told)
        return BehaviourSignals(
            tf.concat([one.query for one in told], axis=1) / count,
            told[0].state,
            tf.add_n([one.event for one in told]) / count,
            tf.add_n([one.time_gap for one in told]) / count,
        )
