"""Linear bandits: LinUCB and linear Thompson sampling, TF-Agents' learners around weights and exploration of ours.

TF-Agents' own policies are not used: they are deterministic or sample without saying how probable a choice was, so that
their logs can't be evaluated. Here the shared sampler draws, and every slot has its propensity.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tf_agents.bandits.agents.lin_ucb_agent import LinearUCBAgent
from tf_agents.bandits.agents.linear_bandit_agent import LinearBanditVariableCollection
from tf_agents.bandits.agents.linear_thompson_sampling_agent import LinearThompsonSamplingAgent

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.experience import experience_of, shown, specs
from tfrec_llm.ranking.agents.inputs import Inputs
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.exploration import Optimistic, Rule, Sampled
from tfrec_llm.types import Candidates, SlateFeedback

_SEED = (0x13198A2E, 0x03707344)  # of Thompson's noise: fixed, so that equal requests get equal answers


@dataclass(frozen=True)
class LinUcbSettings:
    """Settings of `LinUcb`."""

    alpha: float = setting(0.1, "how many standard deviations the optimism reaches", low=0)
    l2: float = setting(1.0, "ridge penalty on the weights", low=1e-6)
    forgetting: float = setting(
        1.0, "what earlier batches count after each batch; 1 = nothing is forgotten", low=0, high=1
    )
    pairs: int = setting(400, "products of context and features: none where there would be more", low=0)


@dataclass(frozen=True)
class LinThompsonSettings:
    """Settings of `LinThompson`."""

    scale: float = setting(0.1, "standard deviation of the weights' posterior, times the reward's noise", low=0)
    draws: int = setting(256, "of the weights, that a propensity is a share of", low=1)
    l2: float = setting(1.0, "ridge penalty on the weights", low=1e-6)
    forgetting: float = setting(
        1.0, "what earlier batches count after each batch; 1 = nothing is forgotten", low=0, high=1
    )
    pairs: int = setting(400, "products of context and features: none where there would be more", low=0)


class RidgeWeights(tf.keras.layers.Layer):
    """reward = prior + w · [1, inputs]; w by ridge regression on what was shown. Fill `inputs`.

    Args:
      shape: what the agent is built for.
      l2: the ridge penalty.
      width: of `inputs`.
      inputs: statistics that are shared with a network, None for its own.
    """

    def __init__(self, shape: AgentShape, l2: float, width: int, inputs: Inputs | None = None):
        super().__init__(name="linear_weights")
        self.shape, self.width, self._l2 = shape, width, l2
        self.inputs_layer = Inputs(shape) if inputs is None else inputs
        d = width + 1
        self.products = self.add_weight("products", [d, d], initializer="zeros", trainable=False)
        self.rewards = self.add_weight("rewards", [d], initializer="zeros", trainable=False)
        self.built = True

    def adapt(self, context: np.ndarray, features: np.ndarray, value: float) -> None:
        """See `Inputs.adapt`."""
        self.inputs_layer.adapt(context, features, value)

    def prior(self, features: tf.Tensor) -> tf.Tensor:
        """[B, K] the reward before anything is learnt."""
        return self.inputs_layer.prior(features)

    def hidden(self, context: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """[B, C] and [B, K, F] -> [B, K, width] what the weights see of each candidate."""
        return self.inputs(context, features)

    def root(self) -> tf.Tensor:
        """[d, d] Cholesky root of the regularised products."""
        return tf.linalg.cholesky(self.products + self._l2 * tf.eye(self.width + 1))

    def mean(self, root: tf.Tensor) -> tf.Tensor:
        """[d] the weights."""
        return tf.linalg.cholesky_solve(root, self.rewards[:, None])[:, 0]


class LinearWeights(RidgeWeights):
    """Linear in context, features and, where they are few enough, their products.

    Args:
      shape: what the agent is built for.
      l2: the ridge penalty.
      pairs: most products that are used.
    """

    def __init__(self, shape: AgentShape, l2: float, pairs: int):
        products = shape.context_dim * shape.feature_dim
        self._paired = products <= pairs
        super().__init__(shape, l2, shape.context_dim + shape.feature_dim + (products if self._paired else 0))

    def inputs(self, context: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """[B, C] and [B, K, F] -> [B, K, d - 1] what the reward is linear in, the constant apart."""
        c, f = self.inputs_layer(context, features)
        candidates = tf.shape(f)[1]
        repeated = tf.repeat(c[:, None, :], candidates, axis=1)  # [B, K, C]
        parts = [repeated, f]
        if self._paired:
            products = repeated[..., :, None] * f[..., None, :]
            parts.append(tf.reshape(products, [tf.shape(f)[0], candidates, c.shape[1] * f.shape[2]]))
        return tf.concat(parts, axis=-1)


class LinUcb(tf.Module):
    """Shows what may be best: the mean and `alpha` standard deviations of the estimate (Li et al., 2010).

    Args:
      settings: see `LinUcbSettings`.
      shape: what it is built for.
      weights: what it estimates with, None for weights on the inputs themselves.
    """

    learner, from_logs = LinearUCBAgent, False

    def __init__(self, settings: Any, shape: AgentShape, weights: RidgeWeights | None = None):
        super().__init__(name="linear")
        self.shape, self.settings = shape, settings
        self.network = LinearWeights(shape, settings.l2, settings.pairs) if weights is None else weights
        learner = self._learner()
        self._learn = learner.train  # a bound method: kept out of exports

    @tf.autograph.experimental.do_not_convert
    def scores(self, context: tf.Tensor, candidates: Candidates) -> tf.Tensor:
        """[B, C] and [B, K] candidates -> [B, K] mean rewards."""
        weights = self.network.mean(self.network.root())
        inputs = self._with_one(self.network.inputs(context, candidates.features))
        return self.network.prior(candidates.features) + tf.linalg.matvec(inputs, weights)

    @tf.autograph.experimental.do_not_convert
    def rule(self, context: tf.Tensor, candidates: Candidates) -> Rule:
        """Optimism by the width of each estimate."""
        inputs = self._with_one(self.network.inputs(context, candidates.features))
        return Optimistic(self.settings.alpha * self._deviation(inputs))

    @tf.autograph.experimental.do_not_convert
    def train(self, feedback: SlateFeedback) -> tf.Tensor:
        """One update by what was shown; slots that stayed empty count for nothing.

        Args:
          feedback: [R, n] slates.

        Returns:
          Scalar mean squared error before the update.
        """
        parts = shown(feedback)
        features, filled = parts.features[:, None], parts.filled[:, None]
        residual = (parts.reward - self.network.prior(features)[:, 0]) * parts.filled
        inputs = self.network.inputs(parts.context, features)[:, 0]
        predicted = tf.linalg.matvec(self._with_one(inputs), self.network.mean(self.network.root()))
        squares = tf.square(residual - predicted) * parts.filled
        loss = tf.math.divide_no_nan(tf.reduce_sum(squares), tf.reduce_sum(parts.filled))
        with tf.control_dependencies([loss]):
            self._learn(experience_of(filled, inputs * filled, residual))
        return loss

    def _deviation(self, inputs: tf.Tensor) -> tf.Tensor:
        """[..., d] -> [...] standard deviations of their means, for rewards of unit noise."""
        flat = tf.reshape(inputs, [-1, self.network.width + 1])
        solved = tf.linalg.triangular_solve(self.network.root(), tf.transpose(flat))  # [d, *]
        return tf.reshape(tf.sqrt(tf.reduce_sum(tf.square(solved), axis=0)), tf.shape(inputs)[:-1])

    def _with_one(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.concat([tf.ones_like(inputs[..., :1]), inputs], axis=-1)

    def _learner(self) -> Any:
        """TF-Agents' agent on the layer's weights: its context is the constant, its arms' features are our inputs."""
        collection = LinearBanditVariableCollection(self.network.width + 1, num_models=1)
        collection.cov_matrix_list, collection.data_vector_list = [self.network.products], [self.network.rewards]
        return self.learner(
            *specs(1, self.network.width, self.shape.num_candidates),
            variable_collection=collection,
            gamma=self.settings.forgetting,
            tikhonov_weight=self.settings.l2,
            accepts_per_arm_features=True,
            enable_summaries=False,
        )


class LinThompson(LinUcb):
    """Shows what is best under weights drawn from their posterior (Agrawal and Goyal, 2013).

    A propensity is the share of a fixed number of draws in which an item is the best one left.

    Args:
      settings: see `LinThompsonSettings`.
      shape: what it is built for.
    """

    learner = LinearThompsonSamplingAgent

    @tf.autograph.experimental.do_not_convert
    def rule(self, context: tf.Tensor, candidates: Candidates) -> Rule:
        """The deviations of all draws from the mean."""
        noise = tf.random.stateless_normal([self.network.width + 1, self.settings.draws], _SEED, alg="philox")
        root = tf.linalg.triangular_solve(self.network.root(), noise, adjoint=True)  # [d, draws]
        inputs = self._with_one(self.network.inputs(context, candidates.features))
        return Sampled(self.settings.scale * tf.einsum("bkd,dm->bkm", inputs, root))
