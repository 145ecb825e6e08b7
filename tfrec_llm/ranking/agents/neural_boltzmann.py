"""Neural Boltzmann: the reward network of neural epsilon-greedy, explored by a softmax of what it predicts."""

from dataclasses import dataclass

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.neural_epsilon_greedy import NeuralEpsilonGreedy, NeuralEpsilonGreedySettings
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.exploration import Boltzmann


@dataclass(frozen=True)
class NeuralBoltzmannSettings:
    """Settings of `NeuralBoltzmann`."""

    hidden: int = setting(32, "width of the residual's hidden layer", low=1)
    learning_rate: float = setting(3e-3, "step size", low=1e-8, high=10)
    l2: float = setting(1e-3, "penalty on the kernels of the residual", low=0)
    temperature: float = setting(0.01, "a predicted reward so much higher is e times as likely", low=1e-6)
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)


class NeuralBoltzmann(NeuralEpsilonGreedy):
    """Predicts rewards with a network and shows items by a softmax of the predictions (Cesa-Bianchi et al., 2017).

    Args:
      settings: see `NeuralBoltzmannSettings`.
      shape: what it is built for.
    """

    def __init__(self, settings: NeuralBoltzmannSettings, shape: AgentShape):
        shared = {name: getattr(settings, name) for name in ("hidden", "learning_rate", "l2", "gradient_norm")}
        super().__init__(NeuralEpsilonGreedySettings(epsilon=0.0, **shared), shape)
        self._rule = Boltzmann(settings.temperature)
