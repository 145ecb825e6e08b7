"""Slates as TF-Agents' experience: every filled slot is one interaction."""

from typing import NamedTuple

import tensorflow as tf
from tf_agents.policies.utils import PerArmPolicyInfo
from tf_agents.specs import bandit_spec_utils, tensor_spec
from tf_agents.trajectories import time_step, trajectory

from tfrec_llm.types import SlateFeedback


class Shown(NamedTuple):
    """What was shown, slot by slot: M = R * n of them."""

    context: tf.Tensor  # [M, C]
    features: tf.Tensor  # [M, F]
    reward: tf.Tensor  # [M]
    filled: tf.Tensor  # [M] float32, 0 for slots that stayed empty


def shown(feedback: SlateFeedback) -> Shown:
    """The slots of slates, one below the other."""
    slots = tf.shape(feedback.slate)[1]
    chosen = tf.gather(feedback.candidates, tf.maximum(feedback.slate, 0), batch_dims=1)  # [R, n, F]
    return Shown(
        tf.repeat(feedback.context, slots, axis=0),
        tf.reshape(chosen, [-1, feedback.candidates.shape[2]]),
        tf.reshape(feedback.rewards, [-1]),
        tf.cast(tf.reshape(feedback.slate, [-1]) >= 0, tf.float32),
    )


def experience_of(context: tf.Tensor, features: tf.Tensor, reward: tf.Tensor) -> trajectory.Trajectory:
    """Interactions with one item each, for agents that take per-arm features.

    Args:
      context: [M, C].
      features: [M, F] of the items shown.
      reward: [M].
    """
    return trajectory.single_step(
        observation={bandit_spec_utils.GLOBAL_FEATURE_KEY: context[:, None]},
        action=tf.zeros_like(reward, tf.int32)[:, None],
        policy_info=PerArmPolicyInfo(chosen_arm_features=features[:, None]),
        reward=reward[:, None],
        discount=tf.ones_like(reward)[:, None],
    )


def specs(context_dim: int, feature_dim: int, num_candidates: int) -> tuple:
    """TF-Agents' time step spec and action spec for per-arm features."""
    observation = bandit_spec_utils.create_per_arm_observation_spec(context_dim, feature_dim, num_candidates)
    action = tensor_spec.BoundedTensorSpec((), tf.int32, 0, num_candidates - 1)
    return time_step.time_step_spec(observation), action
