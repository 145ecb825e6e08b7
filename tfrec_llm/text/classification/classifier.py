"""One encoder and all heads, trained together: each corpus has only some labels, so losses are masked.

Place in the flow: `train` first fits the heads on frozen vectors (`fit`); where a fine-tuning method is chosen,
encoder and heads go on together from there, so that the first steps do not tear the encoder apart to please random
heads (linear probing, then fine-tuning: Kumar et al., 2022).
"""

from collections.abc import Mapping

import tensorflow as tf

from tfrec_llm.config import Regularise
from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.text.classification.adversarial import worst_perturbation
from tfrec_llm.text.classification.heads import SECOND_PASS, Head
from tfrec_llm.text.classification.losses import divergence, label_loss
from tfrec_llm.text.finetuning import Finetuning

Batch = Mapping[str, tf.Tensor | Mapping[str, tf.Tensor]]


class MultiTaskModel(tf.keras.Model):
    """Token ids -> logits of every head.

    Its batches are {"ids": [B, L] int32, "mask": [B, L] bool, "targets": {task: [B] int32 or [B, labels] float32, -1
    where there is no label}, "weights": {task: [B] float32}}.

    Args:
      finetuning: hung on the encoder; its weights are trained, the encoder's others are not.
      heads: task -> head, all trained.
      settings: label smoothing, adversarial training, R-Drop.
      optimizer: of all trained weights.
      seed: of dropout.
      jit_compile: XLA.
    """

    def __init__(
        self,
        finetuning: Finetuning,
        heads: Mapping[str, Head],
        settings: Regularise,
        optimizer: tf.keras.optimizers.Optimizer,
        seed: int,
        jit_compile: bool = False,
    ):
        super().__init__(name="classifier")
        self.own, self.parts = finetuning.own, tf.Module(name="heads")
        self.parts.heads = dict(heads)
        encoder = (
            finetuning.encoder
        )  # held by closures alone: checkpoints need the trained weights, not the word vectors
        self._encode, self._word_shape = encoder.encode, lambda ids: [*tf.unstack(tf.shape(ids)), encoder.dim]
        self._trained = [*finetuning.variables, *(v for head in heads.values() for v in head.trainable_variables)]
        self._settings, self._seed = settings, seed
        self._dtype_of_products = tf.as_dtype(self.compute_dtype)
        self.compile(optimizer, jit_compile=jit_compile)

    def call(self, batch: Batch, noise: Noise = QUIET, perturbation: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """Logits by task, [B, labels] float32 each."""
        embedding = self._encode(batch["ids"], batch["mask"], self._dtype_of_products, noise, perturbation)
        return {task: head(embedding, noise) for task, head in self.parts.heads.items()}

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One step of gradient descent; Keras calls it."""
        noise = Noise(self._seed, self.optimizer.iterations)
        perturbation = self._worst(batch, noise)
        with tf.GradientTape() as tape:
            logits = self(batch, noise)
            loss = self._loss(logits, batch)
            if self._settings.r_drop:
                again = self(batch, Noise(self._seed + SECOND_PASS, self.optimizer.iterations))
                loss = (loss + self._loss(again, batch)) / 2
                loss += self._settings.r_drop * self._divergence(logits, again, batch)
            if perturbation is not None:
                loss += self._loss(self(batch, noise, perturbation), batch)
            share = loss / tf.distribute.get_strategy().num_replicas_in_sync
        self.optimizer.minimize(share, self._trained, tape=tape)
        return {"loss": loss}

    def _loss(self, logits: Mapping[str, tf.Tensor], batch: Batch) -> tf.Tensor:
        """Mean over the rows of what their labels cost, summed over the tasks."""
        losses = []
        for task, head in self.parts.heads.items():
            columns = (batch["targets"][task], batch["weights"][task], head.multi_label)
            soft = batch.get("soft", {}).get(task)
            losses.append(tf.reduce_mean(label_loss(logits[task], *columns, self._settings.label_smoothing, soft)))
        return tf.add_n(losses)

    def _divergence(self, first: Mapping[str, tf.Tensor], second: Mapping[str, tf.Tensor], batch: Batch) -> tf.Tensor:
        """Mean divergence of two passes over the rows that have a label of the task."""
        parts = []
        for task, head in self.parts.heads.items():
            known = batch["weights"][task] > 0
            gap = divergence(first[task], second[task], head.multi_label)
            parts.append(tf.reduce_mean(tf.where(known, gap, 0.0)))
        return tf.add_n(parts)

    def _worst(self, batch: Batch, noise: Noise) -> tf.Tensor | None:
        """What to add to the word vectors so that the loss grows most, [B, L, D]; None where that is switched off."""
        if self._settings.adversarial == "none":
            return None
        zero = tf.zeros(self._word_shape(batch["ids"]))
        mask = batch["mask"][..., None]
        return worst_perturbation(
            lambda moved: self._loss(self(batch, noise, moved), batch),
            zero,
            self._settings,
            self._settings.epsilon,
            mask,
        )


def optimizer(learning_rate: float, steps: int, weight_decay: float = 0.01) -> tf.keras.optimizers.Optimizer:
    """AdamW with a warm-up over a tenth of the steps and a linear decay to zero, gradients cut at norm 1."""
    warm = max(1, steps // 10)
    schedule = WarmUp(learning_rate, warm, steps)
    return tf.keras.optimizers.AdamW(schedule, weight_decay=weight_decay, global_clipnorm=1.0)


class WarmUp(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise to the peak, then linear fall to zero.

    Args:
      peak: the largest step size.
      warm: steps of the rise.
      steps: when the fall ends.
    """

    def __init__(self, peak: float, warm: int, steps: int):
        super().__init__()
        self.peak, self.warm, self.steps = peak, warm, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Step size at `step`."""
        step = tf.cast(step, tf.float32)
        rise, fall = (step + 1) / self.warm, (self.steps - step) / max(1, self.steps - self.warm)
        return self.peak * tf.clip_by_value(tf.minimum(rise, fall), 0.0, 1.0)

    def get_config(self) -> dict[str, float]:
        """The arguments."""
        return {"peak": self.peak, "warm": self.warm, "steps": self.steps}
