"""Neural LinUCB: LinUCB on the features of a learnt network's last layer (Riquelme et al., 2018; Xu et al., 2022).

TF-Agents' `NeuralLinUCBAgent` does not fit: it stops learning its network after a number of steps, its first choices
come from random weights, so that untrained it does not rank as the blend, and it counts its steps in a variable that
all agents of the process share. Here two of its other learners work together: `NeuralEpsilonGreedyAgent` learns the
network without end, `LinearUCBAgent` the weights on its last layer, which forget what older features were.
"""

from dataclasses import dataclass

import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.linear import LinUcb, RidgeWeights
from tfrec_llm.ranking.agents.network import RewardNetwork
from tfrec_llm.ranking.agents.neural_epsilon_greedy import NeuralEpsilonGreedy, NeuralEpsilonGreedySettings
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.types import SlateFeedback


@dataclass(frozen=True)
class NeuralLinUcbSettings:
    """Settings of `NeuralLinUcb`."""

    hidden: int = setting(32, "width of the network's hidden layer, on which LinUCB works", low=1)
    learning_rate: float = setting(3e-3, "step size of the network", low=1e-8, high=10)
    network_l2: float = setting(1e-3, "penalty on the kernels of the network", low=0)
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)
    alpha: float = setting(0.1, "how many standard deviations the optimism reaches", low=0)
    l2: float = setting(1.0, "ridge penalty on the weights of the last layer", low=1e-6)
    forgetting: float = setting(0.95, "what earlier batches count after each batch: features change", low=0, high=1)


class EncodedWeights(RidgeWeights):
    """Linear in what a network's hidden layer makes of context and features.

    Args:
      encoder: the network.
      hidden: width of its hidden layer.
      l2: the ridge penalty.
    """

    def __init__(self, encoder: RewardNetwork, hidden: int, l2: float):
        super().__init__(encoder.shape, l2, hidden, encoder.inputs_layer)
        self.encoder = encoder

    def inputs(self, context: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """[B, C] and [B, K, F] -> [B, K, hidden] what the reward is linear in, the constant apart."""
        return self.encoder.hidden(context, features)


class NeuralLinUcb(LinUcb):
    """Shows what may be best: mean and deviations of a ridge regression on learnt features.

    Args:
      settings: see `NeuralLinUcbSettings`.
      shape: what it is built for.
    """

    def __init__(self, settings: NeuralLinUcbSettings, shape: AgentShape):
        kept = {name: getattr(settings, name) for name in ("hidden", "learning_rate", "gradient_norm")}
        features = NeuralEpsilonGreedy(NeuralEpsilonGreedySettings(l2=settings.network_l2, epsilon=0.0, **kept), shape)
        self._learn_features = features.train  # a bound method: kept out of exports
        super().__init__(settings, shape, EncodedWeights(features.network, settings.hidden, settings.l2))

    @tf.autograph.experimental.do_not_convert
    def train(self, feedback: SlateFeedback) -> tf.Tensor:
        """One step of the network, then one update of the weights on its new features.

        Args:
          feedback: [R, n] slates; position -1 = the slot was empty.

        Returns:
          Scalar mean squared error of the linear estimate before its update.
        """
        with tf.control_dependencies([self._learn_features(feedback)]):
            return super().train(feedback)
