"""Networks that score each candidate: a prior from the blend, plus a residual that is learnt.

The residual's last layer starts at zero: untrained, candidates are ranked exactly as the blend ranks them.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tf_agents.networks import network
from tf_agents.specs import bandit_spec_utils as keys

from tfrec_llm.ranking.agents.inputs import Inputs
from tfrec_llm.ranking.agents.shape import AgentShape

REMAINING = "remaining"  # in an observation: [B, K] bool, what may still be shown
NEVER = -1e9  # the score of what may not
_TINY, _NEARLY_ONE = 1e-30, 1 - 1e-6  # keep log-odds finite


class CandidateNetwork(network.Network):
    """A TF-Agents network with per-arm features; takes any number of candidates. Fill `call`.

    Args:
      shape: the widths.
      hidden: width of the hidden layer.
      inputs: statistics that are shared with another network, None for its own.
      name: of the network.
    """

    def __init__(self, shape: AgentShape, hidden: int, inputs: Inputs | None = None, name: str = "candidate_network"):
        super().__init__(input_tensor_spec=None, state_spec=(), name=name)
        self.shape, self.inputs_layer = shape, Inputs(shape) if inputs is None else inputs
        init = [tf.keras.initializers.GlorotUniform(shape.seed + i) for i in range(3)]
        self.product = tf.keras.layers.Dense(shape.feature_dim, use_bias=False, kernel_initializer=init[0])
        self.hidden_context = tf.keras.layers.Dense(hidden, kernel_initializer=init[1])
        self.hidden_features = tf.keras.layers.Dense(hidden, use_bias=False, kernel_initializer=init[2])
        self.last = tf.keras.layers.Dense(1, kernel_initializer="zeros")

    def create_variables(self, *_, **__):
        """Creates the variables; TF-Agents calls it several times."""
        if not self.built:
            zeros = {
                keys.GLOBAL_FEATURE_KEY: tf.zeros([1, self.shape.context_dim]),
                keys.PER_ARM_FEATURE_KEY: tf.zeros([1, self.shape.num_candidates, self.shape.feature_dim]),
            }
            self(zeros)
        self._network_output_spec = tf.TensorSpec([self.shape.num_candidates], tf.float32)
        return self._network_output_spec

    def adapt(self, context: np.ndarray, features: np.ndarray, value: float) -> None:
        """See `Inputs.adapt`."""
        self.inputs_layer.adapt(context, features, value)

    def residual(self, context: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """[B, C] and [B, K, F] -> [B, K] what is learnt."""
        return self.last(self.hidden(context, features))[..., 0]

    def hidden(self, context: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """What the residual sees of each candidate.

        Args:
          context: [B, C].
          features: [B, K, F].

        Returns:
          [B, K, hidden].
        """
        return self.encode(*self.inputs_layer(context, features))

    def encode(self, c: tf.Tensor, f: tf.Tensor) -> tf.Tensor:
        """The same of inputs that are standardised."""
        joint = tf.concat([f, f * self.product(c)[:, None, :]], axis=-1)  # [B, K, 2F]
        return tf.nn.relu(self.hidden_context(c)[:, None, :] + self.hidden_features(joint))

    def logits(self, context: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """[B, C] and [B, K, F] -> [B, K] the prior's log-odds and the residual."""
        return self.prior_logits(features) + self.residual(context, features)

    def prior_logits(self, features: tf.Tensor) -> tf.Tensor:
        """[B, K, F] -> [B, K] the prior's log-odds."""
        p = tf.clip_by_value(self.inputs_layer.prior(features), _TINY, _NEARLY_ONE)
        return tf.math.log(p) - tf.math.log1p(-p)


class RewardNetwork(CandidateNetwork):
    """Predicted reward = sigmoid(logit(value x blend probability) + residual(context, features)).

    They are added as log-odds, so a prediction stays in (0, 1) as rewards do, and an unlikely candidate can be lifted
    as easily as a likely one.
    """

    def call(
        self, observation: Mapping[str, tf.Tensor], step_type: tf.Tensor | None = None, network_state: tuple = ()
    ) -> tuple[tf.Tensor, tuple]:
        """Predicts rewards.

        Args:
          observation: "global" [B, C] and "per_arm" [B, K, F].
          step_type: not looked at.
          network_state: handed back.

        Returns:
          [B, K] predicted rewards in (0, 1), and the state.
        """
        logits = self.logits(observation[keys.GLOBAL_FEATURE_KEY], observation[keys.PER_ARM_FEATURE_KEY])
        return tf.sigmoid(logits), network_state
