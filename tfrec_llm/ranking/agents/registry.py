"""The agents by name, and the contract that each of them keeps.

This is the one place that says what to do where TF-Agents is missing.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow as tf

from tfrec_llm.config import Component, choose
from tfrec_llm.ranking.exploration import Rule
from tfrec_llm.types import Candidates, SlateFeedback

try:
    from tfrec_llm.ranking.agents.actor_critic import ActorCritic, ActorCriticSettings
    from tfrec_llm.ranking.agents.behaviour_cloning import BehaviourCloning, BehaviourCloningSettings
    from tfrec_llm.ranking.agents.cql import Cql, CqlSettings
    from tfrec_llm.ranking.agents.dqn import Dqn, DqnSettings
    from tfrec_llm.ranking.agents.linear import LinThompson, LinThompsonSettings, LinUcb, LinUcbSettings
    from tfrec_llm.ranking.agents.model_based import ModelBased, ModelBasedSettings
    from tfrec_llm.ranking.agents.neural_boltzmann import NeuralBoltzmann, NeuralBoltzmannSettings
    from tfrec_llm.ranking.agents.neural_epsilon_greedy import NeuralEpsilonGreedy, NeuralEpsilonGreedySettings
    from tfrec_llm.ranking.agents.neural_linucb import NeuralLinUcb, NeuralLinUcbSettings
    from tfrec_llm.ranking.agents.reinforce import Reinforce, ReinforceSettings
    from tfrec_llm.ranking.agents.session_values import SessionValues, SessionValuesSettings
    from tfrec_llm.ranking.agents.shape import AgentShape
    from tfrec_llm.ranking.agents.slate_q import SlateQ, SlateQSettings
except ModuleNotFoundError as error:
    if not (error.name or "").startswith(("tf_agents", "tensorflow_probability")):
        raise
    raise ImportError(
        f"expected TF-Agents for the ranking agents, and {error.name} is missing. Its own pins break the rest of the "
        "stack, so install it as the README says: "
        "pip install --no-deps -r requirements.lock && pip install --no-deps ."
    ) from error


class Agent(Protocol):
    """What every line of AGENTS builds: a tf.Module that scores in graph and learns from slates."""

    shape: AgentShape
    from_logs: bool  # whether it learns from another's log alone: its own choices would teach it nothing
    network: tf.keras.layers.Layer  # holds every weight that `scores` reads

    def scores(self, context: tf.Tensor, candidates: Candidates) -> tf.Tensor:
        """[B, C] and [B, K] candidates -> [B, K] predicted rewards."""

    def rule(self, context: tf.Tensor, candidates: Candidates) -> Rule:
        """How it explores with these candidates; the shared sampler fills the slates."""

    def train(self, feedback: SlateFeedback) -> tf.Tensor:
        """One step on a batch of slates; the loss before it."""


def scores_and_rule(agent: Agent, context: tf.Tensor, candidates: Candidates) -> tuple[tf.Tensor, Rule]:
    """What an agent's `scores` and `rule` say, computed once where it can say both together."""
    together = getattr(agent, "scores_and_rule", None)
    if together is not None:
        return together(context, candidates)
    return agent.scores(context, candidates), agent.rule(context, candidates)


AGENTS: Mapping[str, tuple[type, Any]] = {
    "actor_critic": (ActorCriticSettings, ActorCritic),
    "behaviour_cloning": (BehaviourCloningSettings, BehaviourCloning),
    "cql": (CqlSettings, Cql),
    "dqn": (DqnSettings, Dqn),
    "lin_ucb": (LinUcbSettings, LinUcb),
    "lin_thompson": (LinThompsonSettings, LinThompson),
    "model_based": (ModelBasedSettings, ModelBased),
    "neural_boltzmann": (NeuralBoltzmannSettings, NeuralBoltzmann),
    "neural_epsilon_greedy": (NeuralEpsilonGreedySettings, NeuralEpsilonGreedy),
    "neural_linucb": (NeuralLinUcbSettings, NeuralLinUcb),
    "reinforce": (ReinforceSettings, Reinforce),
    "session_values": (SessionValuesSettings, SessionValues),
    "slate_q": (SlateQSettings, SlateQ),
}


def build_agent(component: Component, shape: AgentShape) -> Agent:
    """An untrained agent.

    Args:
      component: `ranking.agent` of the config.
      shape: what it is built for.

    Raises:
      ConfigError: no such agent, or settings that do not fit it.
    """
    settings, builder = choose(AGENTS, component, "ranking.agent")
    return builder(settings, shape)
