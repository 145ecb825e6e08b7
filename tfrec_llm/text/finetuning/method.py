"""What every fine-tuning method has in common: the weights it trains, how they are kept, and how they are folded in."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tfrec_llm import training
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.training import files
from tfrec_llm.training.weights import named_variables


class Finetuning:
    """One method, hung on one encoder, which then answers exactly as before until a weight moves.

    Args:
      name: as in `FINETUNING`.
      encoder: the encoder.
      own: a module that holds the trained weights and no others.
      learning_rate: peak step size that suits these weights.
      fold: puts the trained weights into the encoder's own and takes the hooks off; None = they stay.
    """

    def __init__(
        self,
        name: str,
        encoder: TextEncoder,
        own: tf.Module,
        learning_rate: float,
        fold: Callable[[], None] | None = None,
    ):
        self.name, self.encoder, self.own, self.learning_rate = name, encoder, own, learning_rate
        self._fold = fold

    @property
    def variables(self) -> list[tf.Variable]:
        """The trained weights."""
        return list(named_variables(self.own).values())

    @property
    def share(self) -> float:
        """Trained weights, as a share of the encoder's weights outside its embedding tables; heads do not count."""
        return sum(v.shape.num_elements() for v in self.variables) / self.encoder.num_transformer_weights

    def save(self, path: str | Path) -> None:
        """Writes the trained weights alone, as .npz, whole or not at all."""
        if self.variables:
            training.save_weights(self.own, path)
        else:
            files.write_npz(path, {})

    def load(self, path: str | Path) -> None:
        """Reads the trained weights, before `merge`.

        Raises:
          ValueError: the file is of another method, of other settings or of another encoder; the differences are named.
        """
        if self.variables:
            training.load_weights(self.own, path)
        elif left := sorted(files.read_npz(path)):
            raise ValueError(
                f"{path}: expected no weights, as text.finetuning = {self.name!r} trains none, got "
                f"{', '.join(left[:4])}; name the method that they were trained with, or train the text stage again."
            )

    def merge(self) -> None:
        """Folds what can be folded into the encoder's weights, so that the served graph is the plain one."""
        if self._fold is not None:
            self._fold()
            self._fold = None
