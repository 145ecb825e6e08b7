"""TF-Agents' own loop as a peer: environment, driver, buffer and agent joined as in its example of per-arm bandits."""

import time

import numpy as np
import tensorflow as tf
from tf_agents.bandits.agents.examples.v2 import trainer
from tf_agents.bandits.agents.neural_epsilon_greedy_agent import NeuralEpsilonGreedyAgent
from tf_agents.bandits.environments.stationary_stochastic_per_arm_py_environment import (
    StationaryStochasticPerArmPyEnvironment,
)
from tf_agents.bandits.networks.global_and_arm_feature_network import create_feed_forward_common_tower_network
from tf_agents.bandits.replay_buffers.bandit_replay_buffer import BanditReplayBuffer
from tf_agents.drivers.dynamic_step_driver import DynamicStepDriver
from tf_agents.environments.tf_py_environment import TFPyEnvironment

from pipelines.benches.rounds import Rate
from tfrec_llm.ranking.worlds.environments import LinearSettings

TOWERS = ((40, 30), (30, 40), (40, 20))  # of its example: for users, for items, for both


def driver_loop(world: LinearSettings, batch: int, seed: int, steps: int = 2) -> Rate:
    """TF-Agents' neural epsilon-greedy agent in a linear world of TF-Agents' own.

    Args:
      world: its widths; rewards are linear in them here too.
      batch: users at a time.
      seed: makes the rewards and draws the users.
      steps: of the driver between two steps of learning, as in its example.

    Returns:
      A function that acts and learns once and says how many interactions a second that was.
    """
    environment = TFPyEnvironment(per_arm_environment(world, batch, seed))
    agent = per_arm_agent(environment)
    buffer = BanditReplayBuffer(agent.policy.trajectory_spec, batch, max_length=steps)
    driver = DynamicStepDriver(environment, agent.collect_policy, num_steps=steps * batch, observers=[buffer.add_batch])

    def run() -> float:
        begin = time.perf_counter()
        driver.run()
        batches = buffer.as_dataset(sample_batch_size=batch, num_steps=steps, single_deterministic_pass=True)
        experience, _ = next(iter(batches))
        trainer.set_expected_shape(experience, steps)
        float(agent.train(experience).loss)  # waits
        buffer.clear()
        return steps * batch / (time.perf_counter() - begin)

    return run


def per_arm_environment(world: LinearSettings, batch: int, seed: int) -> StationaryStochasticPerArmPyEnvironment:
    """Rewards .5 + .1 u·x + .3 w·f and uniform noise, as in `LinearWorld`.

    Args:
      world: widths and noise.
      batch: users at a time.
      seed: makes u and w, and draws users.
    """
    draw = np.random.default_rng(seed)

    def unit(width: int) -> np.ndarray:
        vector = draw.standard_normal(width, np.float32)
        return vector / np.linalg.norm(vector)

    weights = np.concatenate([0.1 * unit(world.context_dim), 0.3 * unit(world.feature_dim)])

    def reward(user_and_item: np.ndarray) -> np.float32:
        return np.float32(0.5 + user_and_item @ weights + draw.uniform(-world.noise, world.noise))

    return StationaryStochasticPerArmPyEnvironment(
        lambda: unit(world.context_dim), lambda: unit(world.feature_dim), world.num_actions, reward, batch_size=batch
    )


def per_arm_agent(environment: TFPyEnvironment) -> NeuralEpsilonGreedyAgent:
    """The agent of the example, at the step size of ours."""
    return NeuralEpsilonGreedyAgent(
        environment.time_step_spec(),
        environment.action_spec(),
        create_feed_forward_common_tower_network(environment.observation_spec(), *TOWERS),
        tf.keras.optimizers.legacy.Adam(3e-3),
        epsilon=0.02,
        accepts_per_arm_features=True,
    )
