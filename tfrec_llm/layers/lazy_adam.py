"""Adam that leaves rows alone which a step did not touch: what makes tables of a million items trainable.

Adam moves every row of an embedding table in every step, since its moments decay everywhere: a step over N rows costs N
whatever was looked up. Here a gradient of looked-up rows (`tf.IndexedSlices`) moves these rows and their moments only;
where it holds every row, the step is Adam's.
"""

import dataclasses

import tensorflow as tf

from tfrec_llm.config import Train


@tf.keras.utils.register_keras_serializable("tfrec_llm")
class LazyAdam(tf.keras.optimizers.Adam):
    """Adam (Kingma and Ba, 2015), row by row for sparse gradients.

    Moments of a row that is not touched stay as they are; the correction of their start at zero counts all steps, so
    that a dense variable and a table with every row touched are trained as by Adam. Arguments as of Keras' Adam,
    without `amsgrad`.
    """

    def __init__(self, learning_rate=0.001, name: str = "LazyAdam", **kwargs):
        if kwargs.get("amsgrad"):
            raise ValueError("LazyAdam: expected amsgrad=False, got True: it needs moments of rows nobody touched.")
        super().__init__(
            learning_rate, name=name, **{**kwargs, "jit_compile": False}
        )  # unique rows have no fixed shape

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """One step of one variable; Keras calls it with the rows of a sparse gradient unique."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        place = self._index_dict[self._var_key(variable)]
        momentum, velocity = self._momentums[place], self._velocities[place]
        step = tf.cast(self.iterations + 1, variable.dtype)
        powers = (tf.pow(tf.cast(beta, variable.dtype), step) for beta in (self.beta_1, self.beta_2))
        rate = tf.cast(self.learning_rate, variable.dtype) * _start_correction(*powers)
        rows, slope = gradient.indices, gradient.values
        first = tf.gather(momentum, rows)
        first += (slope - first) * (1 - self.beta_1)
        second = tf.gather(velocity, rows)
        second += (tf.square(slope) - second) * (1 - self.beta_2)
        momentum.scatter_update(tf.IndexedSlices(first, rows))
        velocity.scatter_update(tf.IndexedSlices(second, rows))
        variable.scatter_sub(tf.IndexedSlices(rate * first / (tf.sqrt(second) + self.epsilon), rows))


def _start_correction(beta_1_power: tf.Tensor, beta_2_power: tf.Tensor) -> tf.Tensor:
    """What undoes the start of both moments at zero."""
    return tf.sqrt(1 - beta_2_power) / (1 - beta_1_power)


def make_adam(learning_rate, num_rows: int, settings: Train) -> tf.keras.optimizers.Optimizer:
    """The optimizer of a model with an item table.

    Args:
      learning_rate: a number or a schedule.
      num_rows: N+2.
      settings: `lazy_rows` says from where on it is lazy.
    """
    return (LazyAdam if is_large(num_rows, settings) else tf.keras.optimizers.Adam)(learning_rate)


def for_rows(num_rows: int, settings: Train) -> Train:
    """The settings without XLA where the table is large: it has no gradients of rows that vary from step to step."""
    return dataclasses.replace(settings, xla="off") if is_large(num_rows, settings) else settings


def is_large(num_rows: int, settings: Train) -> bool:
    """Whether a table is trained row by row: its gradients must then stay sparse."""
    return num_rows > settings.lazy_rows
