"""The encoder trained by contrast, before any head: on texts without labels (SimCSE), then on a few labelled ones.

`adapt` brings it near the texts of the domain, `few_shot` draws texts of one label together (SetFit, Tunstall et al.,
2022). Both train what the fine-tuning method trains and nothing else. Next: heads on the encoder's new vectors.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfrec_llm import training
from tfrec_llm.config import Config, ConfigError, Little
from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.text.classification.classifier import optimizer
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.encoders.bulk import precision_of
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.finetuning import Finetuning
from tfrec_llm.text.little.losses import cosine_loss, likeness, simcse_loss, supervised_contrastive_loss
from tfrec_llm.training import Stage

PASSES = 4  # parts of a training, each with a checkpoint after it
Batch = tuple[Sequence[str], np.ndarray]  # texts [B], targets [B, labels]


class Contrast(tf.keras.Model):
    """What is trained, with a loss of the batch's vectors; its batches are (ids, mask, targets).

    Args:
      encoder: its weights are no part of the model, so that checkpoints hold the trained share only.
      finetuning: whose weights are trained.
      loss: (first vectors [B, D], the same texts under other dropout or None, targets [B, labels]) -> scalar.
      twice: whether the texts are encoded twice.
      steps: of the whole training.
      seed: of dropout.
      precision: of the encoder's products, float32 or bfloat16.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        finetuning: Finetuning,
        loss: Callable[[tf.Tensor, tf.Tensor | None, tf.Tensor], tf.Tensor],
        twice: bool,
        steps: int,
        seed: int,
        precision: str,
    ):
        super().__init__(name="contrast")
        self.own, dtype = finetuning.own, tf.as_dtype(precision)
        self._vectors = lambda ids, mask, noise: encoder.encode(ids, mask, dtype, noise)
        self._loss, self._twice, self._seed = loss, twice, seed
        self._trained = tuple(finetuning.variables)
        self.compile(optimizer(finetuning.learning_rate, steps))

    def call(self, batch: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Ids and mask [B, L] -> [B, D] of unit length."""
        return self._vectors(*batch, Noise(self._seed, self.optimizer.iterations) if training else QUIET)

    def train_step(self, batch: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step on one batch."""
        ids, mask, targets = batch
        step, trained = self.optimizer.iterations, list(self._trained)
        with tf.GradientTape() as tape:
            once = self._vectors(ids, mask, Noise(self._seed, step))
            again = self._vectors(ids, mask, Noise(self._seed + 1, step)) if self._twice else None
            loss = self._loss(once, again, targets)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained, strict=True))
        return {"loss": loss}


def adapt(encoder: TextEncoder, finetuning: Finetuning, texts: Sequence[str], config: Config, stage: Stage) -> None:
    """Trains the encoder on texts of the domain without labels.

    Args:
      encoder: changed in place.
      finetuning: what of it is trained.
      texts: different texts, at least two.
      config: section text, and the seed.
      stage: checkpoints and logs go to `adapt` in its folders.
    """
    little, texts = config.text.little, sorted(set(texts))
    if len(texts) < 2:
        raise ConfigError(f"text.little.adapt: expected at least two different texts, got {len(texts)}; add some.")

    def loss(once: tf.Tensor, again: tf.Tensor | None, targets: tf.Tensor) -> tf.Tensor:
        return simcse_loss(once, again, little.temperature)

    def draw(rng: np.random.Generator) -> Batch:
        rows = rng.choice(len(texts), min(little.batch_size, len(texts)), replace=False)
        return [texts[row] for row in rows], np.zeros((len(rows), 1), np.float32)

    _train(encoder, finetuning, loss, True, little.adapt_steps, draw, "adapt", config, stage)


def few_shot(encoder: TextEncoder, finetuning: Finetuning, tasks: Sequence[Task], config: Config, stage: Stage) -> None:
    """Draws training texts of one label together and others apart; a batch is of one task.

    Args:
      encoder: changed in place.
      finetuning: what of it is trained.
      tasks: whose training rows are used, in turn.
      config: section text, and the seed.
      stage: checkpoints and logs go to `few_shot` in its folders.
    """
    little, pools = config.text.little, [_pool(task) for task in tasks]

    def loss(once: tf.Tensor, again: tf.Tensor | None, targets: tf.Tensor) -> tf.Tensor:
        alike = likeness(targets)
        if little.few_shot == "cosine":
            return cosine_loss(once, alike)
        return supervised_contrastive_loss(once, alike, little.temperature)

    def draw(rng: np.random.Generator) -> Batch:
        texts, targets = pools[rng.integers(len(pools))]
        rows = balanced_rows(targets, little.batch_size, rng)
        return texts[rows].tolist(), targets[rows].astype(np.float32)

    _train(encoder, finetuning, loss, False, little.few_shot_steps, draw, "few_shot", config, stage)


def balanced_rows(targets: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of a batch: as many of each label as fit, at least two, of labels drawn by chance where not all fit.

    Args:
      targets: [R, labels] bool.
      count: rows wanted; fewer come where a label has fewer, none comes twice.
      rng: draws labels and rows.
    """
    labels = rng.permutation(np.flatnonzero(targets.any(0)))[: max(2, count // 2)]
    each = max(2, count // len(labels))
    drawn = [_some(np.flatnonzero(targets[:, label]), each, rng) for label in labels]
    return np.unique(np.concatenate(drawn))


def _some(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(rows, min(count, len(rows)), replace=False)


def _pool(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Texts and targets [R, labels] bool of the training rows."""
    train = task.split == "train"
    targets = task.targets[train]
    return task.texts[train], targets if task.multi_label else targets[:, None] == np.arange(len(task.labels))


def _train(
    encoder: TextEncoder,
    finetuning: Finetuning,
    loss: Callable[[tf.Tensor, tf.Tensor | None, tf.Tensor], tf.Tensor],
    twice: bool,
    steps: int,
    draw: Callable[[np.random.Generator], Batch],
    name: str,
    config: Config,
    stage: Stage,
) -> None:
    if not finetuning.variables:
        raise ConfigError(
            f"text.little.{name}: expected a fine-tuning method that trains the encoder, got "
            f"{finetuning.name!r}; set text.finetuning to one such as 'full' or 'lora'."
        )
    per_pass = -(-steps // PASSES)
    model = Contrast(encoder, finetuning, loss, twice, per_pass * PASSES, config.seed, precision_of(config.text))

    def one_pass(number: int) -> tf.data.Dataset:
        rng = np.random.default_rng([config.seed, number])
        return _batches(encoder, [draw(rng) for _ in range(per_pass)], config.text.max_tokens)

    part = stage._replace(name=f"{stage.name} {name}", work=stage.work / name, logs=stage.logs / name)
    part.work.mkdir(parents=True, exist_ok=True)
    training.fit(model, one_pass, stage=part, epochs=PASSES, patience=PASSES, seed=config.seed)
    renew_fingerprint(finetuning)


def _batches(encoder: TextEncoder, batches: list[Batch], max_tokens: int) -> tf.data.Dataset:
    """(ids, mask, targets) of drawn batches, tokenized as they are asked for."""

    def tokenized():
        for texts, targets in batches:
            encoded = tf.constant([text.encode("utf-8", "replace") for text in texts])
            ids, mask = encoder.tokenize(encoded, "query", max_tokens)
            yield ids, mask, targets

    shapes = [([None, None], tf.int32), ([None, None], tf.bool), ([None, None], tf.float32)]
    signature = tuple(tf.TensorSpec(shape, dtype) for shape, dtype in shapes)
    dataset = tf.data.Dataset.from_generator(tokenized, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))


def renew_fingerprint(finetuning: Finetuning) -> None:
    """Gives the encoder a fingerprint of its weights as they are now, so that no old vector is taken for a new one."""
    whole = hashlib.sha256(finetuning.encoder.fingerprint.encode())
    for variable in finetuning.variables:
        whole.update(variable.numpy().tobytes())
    finetuning.encoder.fingerprint = whole.hexdigest()[:16]


def wants_encoder(little: Little) -> bool:
    """Whether a switch trains the encoder before the heads."""
    return little.adapt != "none" or little.few_shot != "none"
