"""What agents share that show by a softmax of learnt logits."""

import tensorflow as tf

from tfrec_llm.ranking.agents.network import CandidateNetwork
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.exploration import Boltzmann, Rule
from tfrec_llm.types import Candidates


class SoftmaxAgent(tf.Module):
    """Scores are logits, the rule a softmax. Fill `train`.

    Args:
      name: of the module.
      shape: what it is built for.
      network: gives the logits.
      temperature: divides them.
    """

    from_logs = False

    def __init__(self, name: str, shape: AgentShape, network: CandidateNetwork, temperature: float = 1.0):
        super().__init__(name=name)
        self.shape, self.network, self._rule = shape, network, Boltzmann(temperature)
        network.create_variables()

    @tf.autograph.experimental.do_not_convert  # nothing in it needs it, and converting TF-Agents takes seconds
    def scores(self, context: tf.Tensor, candidates: Candidates) -> tf.Tensor:
        """[B, C] and [B, K] candidates -> [B, K] logits of being shown."""
        return self.network.logits(context, candidates.features)

    def rule(self, context: tf.Tensor, candidates: Candidates) -> Rule:
        """A softmax of the logits."""
        del context, candidates
        return self._rule
