"""Slates as TF-Agents' experience: every filled slot is one interaction."""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf
from tf_agents.policies.utils import PerArmPolicyInfo
from tf_agents.specs import bandit_spec_utils, tensor_spec
from tf_agents.trajectories import policy_step, time_step, trajectory

from tfrec_llm.ranking.agents.network import REMAINING
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


def decisions(feedback: SlateFeedback) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """The slots of slates as decisions of their own.

    Returns:
      Observations of M = R * n decisions, in each what was left after the slots above; actions [M], positions in K, 0
      for slots that stayed empty; and [M] float32 that is 0 for those.
    """
    slots, count = tf.shape(feedback.slate)[1], tf.shape(feedback.candidates)[1]
    above = tf.cumsum(tf.one_hot(feedback.slate, count), axis=1, exclusive=True)  # [R, n, K]
    remaining = tf.reshape(above, [-1, count]) < 0.5
    context, features = (tf.repeat(part, slots, axis=0) for part in (feedback.context, feedback.candidates))
    action = tf.reshape(feedback.slate, [-1])
    return observe(context, features, remaining), tf.maximum(action, 0), tf.cast(action >= 0, tf.float32)


class SlateInfo(NamedTuple):
    """What a trajectory's policy says of its slates; its action is the item that was taken, or shown first."""

    slate: tf.Tensor  # [B, T, n] positions in K
    propensities: tf.Tensor  # [B, T, n]
    taken: tf.Tensor  # [B, T] slot whose item was taken, -1 for none


def slates_of(steps: trajectory.Trajectory) -> SlateFeedback:
    """The decisions of sessions [B, T] as B * T slates, the reward where something was taken."""
    observation, (slate, propensities, taken) = flat(steps.observation), flat(steps.policy_info)
    rewards = tf.one_hot(taken, tf.shape(slate)[1]) * tf.reshape(steps.reward, [-1, 1])
    context, features = (
        observation[key] for key in (bandit_spec_utils.GLOBAL_FEATURE_KEY, bandit_spec_utils.PER_ARM_FEATURE_KEY)
    )
    return SlateFeedback(context, features, slate, rewards, propensities)


def flat(parts: tf.types.experimental.TensorLike) -> tf.types.experimental.TensorLike:
    """[B, T, ...] each -> [B * T, ...]."""
    return tf.nest.map_structure(lambda part: tf.reshape(part, [-1, *part.shape[2:]]), parts)


def by_slot(values: tf.Tensor, feedback: SlateFeedback) -> tf.Tensor:
    """One value of each slate, [R] or [B, T] -> [R * n] the same for each of its slots."""
    return tf.repeat(tf.reshape(values, [-1]), tf.shape(feedback.slate)[1])


def observe(context: tf.Tensor, features: tf.Tensor, remaining: tf.Tensor) -> dict[str, tf.Tensor]:
    """What an agent sees of a decision: [B, C], [B, K, F] and [B, K] bool."""
    return {
        bandit_spec_utils.GLOBAL_FEATURE_KEY: context,
        bandit_spec_utils.PER_ARM_FEATURE_KEY: features,
        REMAINING: remaining,
    }


def lone_transitions(feedback: SlateFeedback) -> tuple[trajectory.Transition, tf.Tensor]:
    """The slots of slates as decisions of their own, after which nothing comes.

    Returns:
      M = R * n transitions, and [M] weights of mean one: 0 for slots that stayed empty.
    """
    observation, action, filled = decisions(feedback)
    steps = time_step.restart(observation, batch_size=tf.shape(action))
    after = time_step.termination(observation, tf.reshape(feedback.rewards, [-1]), outer_dims=tf.shape(action))
    weights = tf.math.divide_no_nan(filled, tf.reduce_mean(filled))
    return trajectory.Transition(steps, policy_step.PolicyStep(action, (), ()), after), weights


def pairs(steps: trajectory.Trajectory) -> trajectory.Trajectory:
    """[B, T] decisions one after the other -> [B * (T - 1), 2] each with the one after it."""

    def paired(part: tf.Tensor) -> tf.Tensor:
        both = tf.stack([part[:, :-1], part[:, 1:]], axis=2)  # [B, T - 1, 2, ...]
        return tf.reshape(both, [-1, *both.shape[2:]])

    return tf.nest.map_structure(paired, steps)


def split_mask(observation: Mapping) -> tuple[Mapping, tf.Tensor]:
    """What a network sees, and what may be shown."""
    return {name: part for name, part in observation.items() if name != REMAINING}, observation[REMAINING]


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


def masked_specs(context_dim: int, feature_dim: int, num_candidates: int) -> tuple:
    """The same with what remains in the observation, see `split_mask`."""
    steps, action = specs(context_dim, feature_dim, num_candidates)
    remaining = tensor_spec.TensorSpec([num_candidates], tf.bool)
    return time_step.time_step_spec({**steps.observation, REMAINING: remaining}), action
