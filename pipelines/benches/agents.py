"""Learning bandits beside other libraries': LinUCB beside Vowpal Wabbit, the neural agent beside TF-Agents' own driver.

All meet the linear world with 20 items of 36 features. Ours is timed whole, world and choices included; of Vowpal
Wabbit only the seconds in which it learns count, not those of building examples, predicting and drawing.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.benches import server
from pipelines.benches.driver import driver_loop
from pipelines.benches.rounds import Rate, Settings, paired
from tfrec_llm.config import Component
from tfrec_llm.ranking import build_agent, simulate_agent
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.worlds.environments import LinearSettings, LinearWorld
from tfrec_llm.ranking.worlds.simulation import play_function
from tfrec_llm.training.strategy import available_cores

WORLD = LinearSettings(context_dim=8, feature_dim=36, num_actions=20)
BATCH, SMALL = 1024, 32  # users that are met at a time: in the figure, and where regret is compared with it
INTERACTIONS = 200_000  # after which regret is told
LIN_UCB = Component("lin_ucb", {"pairs": 0})  # linear in context and features, as Vowpal Wabbit's arguments say
NEURAL = Component("neural_epsilon_greedy")
VOWPAL = "--cb_explore_adf --squarecb --gamma_scale 1000"
EXAMPLE = 16  # users at a time in TF-Agents' example, whose rate is told beside that at `BATCH`
PEER_USERS = 4_000  # that a peer meets in a round


def beside_bandits(settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    """Both cases -> key and entry of bench.json.

    Args:
      settings: the seed makes the world; `rounds`.
    """
    threads = settings.config.train.threads or available_cores()
    world = LinearWorld(WORLD, settings.config.seed)
    with server.start("peers", "peer_vowpal.py", 1) as peer:
        yield "agents.lin_ucb_vs_vowpal_wabbit", beside_vowpal(world, peer, threads, settings)
    yield "agents.neural_vs_tf_agents_driver", beside_driver(world, threads, settings)


def beside_vowpal(world: LinearWorld, peer: server.Server, threads: int, settings: Settings) -> dict[str, Any]:
    """LinUCB beside a linear contextual bandit of Vowpal Wabbit, which goes on learning from round to round.

    Args:
      world: where both learn.
      peer: Vowpal Wabbit, see `peer_vowpal`.
      threads: of ours; Vowpal Wabbit learns in one.
      settings: as of `beside_bandits`.

    Returns:
      An entry of bench.json; regrets are sums over the interactions that stand beside them.
    """
    seed = settings.config.seed
    setup = {"agent": LIN_UCB.name, "threads": threads, "peer_arguments": VOWPAL, **_regrets(world, LIN_UCB, seed)}
    setup |= {f"peer_{k}": v for k, v in peer.ask({"do": "load", "arguments": VOWPAL, "seed": seed}).items()}
    told = {"interactions": 0, "regret": 0.0, "predict": 0.0}
    with tempfile.TemporaryDirectory(prefix="tfrec_llm-bench-") as folder:
        users = Path(folder) / "users.npz"

        def vowpal() -> float:
            np.savez(users, **some_users(world, PEER_USERS, seed, told["interactions"]))
            answer = peer.ask({"do": "play", "users": str(users)})
            for name in told:
                told[name] += answer[name]
            return answer["interactions"] / answer["learn"]

        one = paired("agents.lin_ucb", our_rate(world, LIN_UCB, seed), vowpal, settings.rounds, "interactions/s", setup)
    one["setup"] |= {f"peer_{name}": told[name] for name in ("interactions", "regret")}
    one["setup"]["peer_predictions_per_second"] = told["interactions"] / told["predict"]
    return one


def beside_driver(world: LinearWorld, threads: int, settings: Settings) -> dict[str, Any]:
    """The neural agent beside TF-Agents' environment, driver, buffer and agent, as its tutorials join them.

    Args:
      world: where both learn.
      threads: of both.
      settings: as of `beside_bandits`.

    Returns:
      An entry of bench.json.
    """
    seed = settings.config.seed
    setup = {"agent": NEURAL.name, "threads": threads, **_regrets(world, NEURAL, seed)}
    example = driver_loop(WORLD, EXAMPLE, seed)
    example()  # traces
    setup |= {"peer_batch": BATCH, f"peer_per_second_batch_{EXAMPLE}": example()}
    driver = driver_loop(WORLD, BATCH, seed)
    return paired("agents.neural", our_rate(world, NEURAL, seed), driver, settings.rounds, "interactions/s", setup)


def our_rate(world: LinearWorld, component: Component, seed: int) -> Rate:
    """Runs `INTERACTIONS` interactions with learning; the agent goes on from call to call."""
    agent = _agent(world, component, seed)
    play, rounds = play_function(world, agent, BATCH, agent), INTERACTIONS // BATCH
    numbers = iter(range(0, 1 << 30, rounds))

    def run() -> float:
        begin = time.perf_counter()
        reward, *_ = play(tf.constant(next(numbers)), tf.constant(rounds), tf.constant(seed))
        reward.numpy()  # waits
        return rounds * BATCH / (time.perf_counter() - begin)

    return run


def some_users(world: LinearWorld, count: int, seed: int, number: int) -> dict[str, np.ndarray]:
    """Users of the world as arrays: context, features, expected rewards, and what noise adds to that of what is shown.

    Args:
      world: where.
      count: how many.
      seed: decides them, together with `number`.
      number: of the users that were met before.
    """
    seeds = tf.random.split(tf.constant([seed, number]), 2, alg="philox")
    context, features, expected = (part.numpy() for part in world.observe(count, seeds[0]))
    noise = world.reward(tf.zeros([count]), seeds[1]).numpy()
    return {"context": context, "features": features, "expected": expected, "noise": noise}


def _regrets(world: LinearWorld, component: Component, seed: int) -> dict[str, Any]:
    """Of ours after `INTERACTIONS`: sums, and means of the last tenth, with many and with few users at a time."""
    found: dict[str, Any] = {"items": WORLD.num_actions, "features": WORLD.feature_dim, "batch": BATCH}
    for batch in (BATCH, SMALL):
        rounds = INTERACTIONS // batch
        regret = simulate_agent(world, _agent(world, component, seed), batch, rounds, seed).regret
        found[f"regret_batch_{batch}"] = float(regret.sum() * batch)
        found[f"regret_of_last_tenth_batch_{batch}"] = float(regret[-max(rounds // 10, 1) :].mean())
    return {**found, "interactions": INTERACTIONS, "dtype": "float32"}


def _agent(world: LinearWorld, component: Component, seed: int) -> Any:
    return build_agent(component, AgentShape(world.context_dim, world.feature_dim, world.num_actions, seed=seed))
