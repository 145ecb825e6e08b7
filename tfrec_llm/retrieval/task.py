"""TFRS' retrieval task as the towers use it: a softmax over the candidates of a step, always in float32."""

import tensorflow as tf
import tensorflow_recommenders as tfrs


class SampledSoftmax(tf.Module):
    """Cross entropy among the candidates of a step, corrected by how often each is sampled, accidental hits removed.

    Args:
      temperature: the scores are divided by it.
    """

    def __init__(self, temperature: float):
        super().__init__(name="task")
        with _Float32():
            loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum")
            self._task = tfrs.tasks.Retrieval(loss=loss, temperature=temperature, remove_accidental_hits=True)

    def __call__(
        self, query: tf.Tensor, ids: tf.Tensor, rows: tf.Tensor, sampled: tf.Tensor, mask: tf.Tensor, real: tf.Tensor
    ) -> tf.Tensor:
        """Mean over the real queries.

        Args:
          query: [R, Q2].
          ids: [C] item indices of the candidates, first those of the R answers.
          rows: [C, Q2] the candidates.
          sampled: [C] how often each is among a step's candidates.
          mask: [R, C] bool, which candidates a query is compared with.
          real: [R] bool, which queries count.
        """
        weight = tf.cast(real, tf.float32)
        with _Float32():
            losses = self._task(
                query,
                rows,
                sample_weight=weight,
                candidate_sampling_probability=sampled,
                candidate_ids=ids,
                compute_metrics=False,
                score_mask=mask,
            )
        return losses / tf.maximum(tf.reduce_sum(weight), 1.0)


class _Float32:
    """Layers made inside are float32: TFRS makes some inside its task, and a loss is never half precision."""

    def __enter__(self) -> None:
        self._policy = tf.keras.mixed_precision.global_policy()
        tf.keras.mixed_precision.set_global_policy("float32")

    def __exit__(self, *_) -> None:
        tf.keras.mixed_precision.set_global_policy(self._policy)
