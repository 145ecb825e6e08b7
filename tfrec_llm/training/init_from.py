"""Training that starts from another run (`train.init_from`): what says something about any catalogue is carried over.

Text heads, recurrent weights and projections are; what has a row for each item is not, nor what has one for each event
type where the types differ, nor what reads text vectors where another encoder made them.
"""

import logging
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrec_llm.config import Config, ConfigError, Train, to_table
from tfrec_llm.training import files
from tfrec_llm.training.resume import read_stage
from tfrec_llm.training.weights import named_variables

NEEDED = ("data", "text", "behaviour", "retrieval/towers")
_log = logging.getLogger(__name__)


class Origin:
    """A finished run.

    Args:
      run: its folder.

    Raises:
      ConfigError: it is no run folder, or a stage of it is missing or damaged.
    """

    def __init__(self, run: Path):
        self.run = run
        try:
            self.fingerprints = {name: read_stage(run, name)["fingerprint"] for name in NEEDED}
            self._table = tomllib.loads((run / "config.toml").read_text("utf-8"))
            self._facts = files.read_json(run / "data" / "dataset.json")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"train.init_from: expected the folder of a finished run with the stages {', '.join(NEEDED)}, got "
                f"{str(run)!r} ({error}); train that run first, or set train.init_from to one that is there."
            ) from error

    @property
    def behaviour_model(self) -> str:
        """The name of its behaviour model."""
        return self._table["behaviour"]["model"]["name"]

    def same_encoder(self, config: Config) -> bool:
        """Whether its text vectors are of the same encoder; one that was fine-tuned is another in every run."""
        here, there = to_table(config)["text"], self._table["text"]
        frozen = all(text["finetuning"]["name"] == "frozen" for text in (here, there))
        return frozen and here["encoder"] == there["encoder"]

    def same_events(self, events: Sequence[str]) -> bool:
        """Whether it knows the same event types in the same order."""
        return tuple(self._facts["domain"]["events"]) == tuple(events)

    def labels(self, task: str) -> list[str] | None:
        """The labels of a text head, None where there is no such head."""
        about: dict[str, Any] = files.read_json(self.run / "text" / "labels.json")
        return about[task]["labels"] if task in about else None

    def carry(self, module: tf.Module, file: str, own: Collection[str] = (), label: str = "") -> list[str]:
        """Copies weights that fit into a module, and says in the log which did and which did not.

        Args:
          module: built.
          file: the weights in the run folder, such as "behaviour/weights.npz".
          own: paths of variables, or beginnings of them, that stay as they are whatever their shape.
          label: what the log calls the module.

        Returns:
          The paths of the variables that were carried over.
        """
        arrays, carried, left = files.read_npz(self.run / file), [], []
        for name, variable in sorted(named_variables(module).items()):
            here, there = list(variable.shape), list(arrays[name].shape) if name in arrays else None
            if any(name == one or name.startswith(f"{one}/") for one in own):
                left.append(f"{name} (of its own data)")
            elif here != there:
                left.append(f"{name} ({here} here, {'nothing' if there is None else there} there)")
            else:
                variable.assign(tf.cast(arrays[name], variable.dtype))
                carried.append(name)
        told = ", ".join(carried) or "nothing"
        _log.info("%s: from %s: carried %s; left out %s", label, self.run, told, ", ".join(left) or "nothing")
        return carried


def find_origin(settings: Train) -> Origin | None:
    """The run that a training starts from; None where it starts afresh.

    Args:
      settings: `init_from`.

    Raises:
      ConfigError: see `Origin`.
    """
    return Origin(Path(settings.init_from)) if settings.init_from else None
