"""An agent meets users who come back: what is shown changes them, and a decision is judged by all that follows.

The loop rolls a few decisions of all users, lets the agent learn from them, and goes on where it was. An agent with
`train_sessions` learns from decisions in their order; any other from each decision by itself.
"""

from typing import NamedTuple, Protocol

import tensorflow as tf
from tf_agents.trajectories import StepType, trajectory

from tfrec_llm.ranking.agents.experience import SlateInfo, observe
from tfrec_llm.ranking.agents.registry import Agent
from tfrec_llm.ranking.exploration import Draw, EpsilonGreedy, fill_slate
from tfrec_llm.ranking.worlds.environments import Situation
from tfrec_llm.ranking.worlds.interest import Response
from tfrec_llm.types import Candidates, SlateFeedback

_ANY = EpsilonGreedy(1.0)
_ROLLED = 4  # decisions between two steps of learning, where the agent does not say how many it needs


class SessionWorld(Protocol):
    """What every line of SESSION_WORLDS builds."""

    context_dim: int
    feature_dim: int
    num_actions: int
    optimum: float  # mean reward of a decision in the long run, of the best policy

    def begin(self, users: int) -> tf.Tensor:
        """[B, S] states of new users."""

    def observe(self, state: tf.Tensor, seed: tf.Tensor) -> Situation:
        """What is seen of users in these states, and what each candidate would bring now."""

    def respond(self, state: tf.Tensor, situation: Situation, positions: tf.Tensor, seed: tf.Tensor) -> Response:
        """What showing the items at `positions` leads to: [B], or [B, n] of a world whose `slate` is n > 1."""


class Decision(NamedTuple):
    """One decision of all users, as agents learn from it."""

    situation: Situation
    draw: Draw
    response: Response
    fresh: tf.Tensor  # [B] bool: the user's first decision


def roll(
    world: SessionWorld, agent: Agent | None, state: tf.Tensor, fresh: tf.Tensor, seed: tf.Tensor, decisions: int
) -> tuple[list[Decision], tf.Tensor, tf.Tensor]:
    """Some decisions, one after the other.

    Args:
      world: where.
      agent: who decides; None for any item alike.
      state: [B, S] of the users.
      fresh: [B] bool, whose first decision comes.
      seed: [2].
      decisions: how many.

    Returns:
      The decisions, and state and `fresh` after them.
    """
    slate = slate_of(world)

    @tf.function  # traced once, however many decisions follow each other
    def decide(number: tf.Tensor, state: tf.Tensor, fresh: tf.Tensor) -> Decision:
        seeds = tf.random.split(tf.random.fold_in(seed, number, alg="philox"), 3, alg="philox")
        situation = world.observe(state, seeds[0])
        draw = _show(agent, situation, seeds[1], slate)
        shown = draw.positions if slate > 1 else draw.positions[:, 0]
        return Decision(situation, draw, world.respond(state, situation, shown, seeds[2]), fresh)

    made = []
    for number in range(decisions):
        made.append(decide(tf.constant(number), state, fresh))
        state, fresh = made[-1].response.state, made[-1].response.ended
    return made, state, fresh


def slate_of(world: SessionWorld) -> int:
    """How many items a world shows together: one, where it does not say."""
    return getattr(world, "slate", 1)


def learn(agent: Agent, decisions: list[Decision]) -> None:
    """Lets an agent learn from decisions in their order, or from each by itself."""
    if hasattr(agent, "train_sessions"):
        agent.train_sessions(as_trajectory(decisions))
        return
    parts = [
        (d.situation.context, d.situation.features, d.draw.positions, _rewards(d), d.draw.propensities)
        for d in decisions
    ]
    agent.train(SlateFeedback(*(tf.concat(columns, axis=0) for columns in zip(*parts, strict=True))))


def as_trajectory(decisions: list[Decision]) -> trajectory.Trajectory:
    """[B, T] TF-Agents' form; a user who left has discount 0, and who comes next begins anew."""

    def frame(made: Decision) -> trajectory.Trajectory:
        (context, features, _), positions = made.situation, made.draw.positions
        remaining = tf.ones(tf.shape(features)[:2], tf.bool)
        return trajectory.Trajectory(
            step_type=tf.where(made.fresh, StepType.FIRST, StepType.MID),
            observation=observe(context, features, remaining),
            action=tf.gather(positions, tf.maximum(made.response.taken, 0), batch_dims=1),
            policy_info=SlateInfo(positions, made.draw.propensities, made.response.taken),
            next_step_type=tf.where(made.response.ended, StepType.LAST, StepType.MID),
            reward=made.response.reward,
            discount=1.0 - tf.cast(made.response.ended, tf.float32),
        )

    frames = [frame(made) for made in decisions]
    return tf.nest.map_structure(lambda *parts: tf.stack(parts, axis=1), *frames)


def session_rounds(
    world: SessionWorld, agent: Agent, users: int, logger: Agent
) -> tf.types.experimental.PolymorphicFunction:
    """Some rounds in graph: of the agent, of random choices and of the logger, each with users of their own.

    Args:
      world: where.
      agent: who is judged and learns.
      users: how many.
      logger: whose decisions the agent learns from: itself, or one whose log it reads, which learns too.

    Returns:
      A tf.function: first round, number of rounds, seed -> mean rewards of agent, random and optimum, [rounds] each.
      Where users are is kept between calls.
    """
    count, actors = decisions_of(agent), (agent, None) if logger is agent else (agent, None, logger)
    states = [tf.Variable(world.begin(users), trainable=False) for _ in actors]
    fresh = [tf.Variable(tf.ones([users], tf.bool), trainable=False) for _ in actors]

    def one_round(seed: tf.Tensor) -> list[tf.Tensor]:
        means = []
        for number, who in enumerate(actors):
            made, state, new = roll(world, who, states[number], fresh[number], seed, count)
            states[number].assign(state)
            fresh[number].assign(new)
            if who is logger:
                for learner in dict.fromkeys((agent, logger)):
                    learn(learner, made)
            means.append(tf.reduce_mean(tf.stack([decision.response.reward for decision in made])))
        return means[:2]

    @tf.function(reduce_retracing=True)
    def play(first: tf.Tensor, rounds: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        rewards, random = tf.TensorArray(tf.float32, rounds), tf.TensorArray(tf.float32, rounds)
        for i in tf.range(rounds):
            ours, theirs = one_round(tf.stack([seed, first + i]))
            rewards, random = rewards.write(i, ours), random.write(i, theirs)
        return rewards.stack(), random.stack(), tf.fill([rounds], tf.constant(world.optimum, tf.float32))

    return play


def decisions_of(agent: Agent) -> int:
    """Decisions of a user in a round."""
    return getattr(agent, "n_step", _ROLLED - 1) + 1


def _rewards(made: Decision) -> tf.Tensor:
    """[B, n] the reward in the slot whose item was taken."""
    return tf.one_hot(made.response.taken, tf.shape(made.draw.positions)[1]) * made.response.reward[:, None]


def _show(agent: Agent | None, situation: Situation, seed: tf.Tensor, slate: int) -> Draw:
    context, features, expected = situation
    allowed = tf.ones_like(expected, tf.bool)
    numbers = tf.random.stateless_uniform([tf.shape(expected)[0], slate], seed, alg="philox")
    never = tf.zeros_like(allowed[:, 0])
    if agent is None:
        return fill_slate(tf.zeros_like(expected), allowed, slate, _ANY, 0.0, 1, numbers, never)
    candidates = Candidates(tf.zeros_like(expected, tf.int32), tf.zeros_like(expected), features, allowed)
    scores, rule = agent.scores(context, candidates), agent.rule(context, candidates)
    return fill_slate(scores, allowed, slate, rule, 0.0, 1, numbers, never)
