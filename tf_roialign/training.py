"""Keras models with one row of outputs per box, in training: ragged labels, several replicas."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import keras
import tensorflow as tf


class BoxTraining:
    """Lets `fit` and `evaluate` take ragged labels, and run under `tf.distribute`.

    A mixin for a subclass of `keras.Model` whose outputs have one row per box::

        class Detector(tf_roialign.BoxTraining, keras.Model): ...

    `BoxModel` is the same for functional models.

    Labels and sample weights that are ragged, `[N, (L), ...]` with one row per image as the boxes
    have, are flattened to `[K, ...]`, one row per box, before the loss. Others pass as they are.

    Under `tf.distribute.MirroredStrategy` and `MultiWorkerMirroredStrategy`, make and compile the
    model in the strategy's scope; `fit`, `evaluate` and `predict` may be called inside of it or
    outside. Keras splits a batch among the replicas by images, which is why labels have to be
    ragged there, and adds up gradients: `docs/distribution.md` tells what a box weighs.

    Raises:
      ValueError: On `fit`, if `class_weight` is given for ragged labels. Under a strategy, on
        `compile` if a metric is no `keras.metrics.Metric` but a name, and on `fit` and `evaluate`
        if the model has not been called yet: both would make variables in the middle of a step.
    """

    _replicas = None  # the strategy
    _output_specs = None  # the structure of the outputs, of the first call

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | Literal["auto"] = "auto",
        **kwargs: Any,
    ) -> None:
        """As of `keras.Model`; under a strategy, "auto" does not take XLA."""
        # Keras' attribute is cleared: with it, `fit` takes the mean of the first batch over the
        # replicas to build the model, which ragged tensors do not have.
        if tf.distribute.has_strategy():
            self._replicas = tf.distribute.get_strategy()
        else:  # that of the model, or of an earlier compile
            self._replicas = self._distribute_strategy or self._replicas
        self._distribute_strategy = None
        if self._replicas is not None:
            _refuse_names(metrics, "metrics")
            _refuse_names(weighted_metrics, "weighted_metrics")
            jit_compile = False if jit_compile == "auto" else jit_compile
        with self._scope():
            super().compile(
                optimizer,
                loss,
                loss_weights,
                metrics,
                weighted_metrics,
                run_eagerly,
                steps_per_execution,
                jit_compile,
                **kwargs,
            )
            if self._replicas is not None:
                self._build_optimizer()

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As of `keras.Model`, which does nothing where `compile` is not its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self._build_optimizer()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As of `keras.Model`."""
        outputs = super().__call__(*args, **kwargs)
        if self._output_specs is None:
            specs = tf.nest.map_structure(lambda _: keras.KerasTensor([None]), outputs)
            # Not by Keras, which would track it as a part of the model.
            object.__setattr__(self, "_output_specs", specs)
        return outputs

    def fit(
        self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any
    ) -> keras.callbacks.History:
        """As of `keras.Model`."""
        if kwargs.get("class_weight") is not None and _has_ragged_labels(x, y):
            raise ValueError(
                "`class_weight` needs labels that are not ragged: give a ragged `sample_weight` "
                "instead, the weight of each box's class"
            )
        with self._ready():
            return super().fit(x, y, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As of `keras.Model`."""
        with self._ready():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """As of `keras.Model`: the rows of all boxes, in the order of the data."""
        with self._scope():
            return super().predict(*args, **kwargs)

    def train_step(self, data: Any) -> dict[str, Any]:
        """As of `keras.Model`, with flat labels."""
        return _as_logs(super().train_step(_flat(data)))

    def test_step(self, data: Any) -> dict[str, Any]:
        """As of `keras.Model`, with flat labels."""
        return _as_logs(super().test_step(_flat(data)))

    def _scope(self):
        return contextlib.nullcontext() if self._replicas is None else self._replicas.scope()

    @contextlib.contextmanager
    def _ready(self):
        """The scope, with all variables made."""
        with self._scope():
            if self._replicas is not None:
                if not self.built:
                    raise ValueError(
                        "the model must be called on a batch, in the strategy's scope, before "
                        "`fit` or `evaluate`: it has no variables yet, and replicas cannot make "
                        "them in a step"
                    )
                self._build_optimizer()
                self._build_loss()
            yield

    def _build_loss(self):
        """With several outputs, Keras keeps a mean of each loss, in variables."""
        loss = getattr(self, "_compile_loss", None)
        if loss is None or loss.built:
            return
        try:
            outputs = self.output
        except (AttributeError, ValueError):  # it is not functional
            outputs = self._output_specs
        if outputs is not None:
            loss.build(outputs, outputs)  # only the structure counts, and labels have the same

    def _build_optimizer(self):
        if self.built and self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)


@keras.saving.register_keras_serializable(package="tf_roialign")
class BoxModel(BoxTraining, keras.Model):
    """A functional Keras model with one row of outputs per box, that trains on ragged labels.

    What it does beside `keras.Model` is said at `BoxTraining`, which is the mixin for models that
    you subclass.

    Example::

        with tf.distribute.MirroredStrategy().scope():
            images, boxes = keras.Input([None, None, 3]), keras.Input([None, 4], ragged=True)
            features = keras.layers.Conv2D(64, 4, strides=4, activation="relu")(images)
            pooled = tf_roialign.RoIAlign(7, spatial_scale=1 / 4, aligned=True)(features, boxes)
            logits = keras.layers.Dense(10)(keras.layers.Flatten()(pooled))
            model = tf_roialign.BoxModel([images, boxes], logits)
            model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(dataset)  # batches ((images, boxes), labels), boxes and labels ragged

    Args:
      inputs: As of `keras.Model`.
      outputs: As of `keras.Model`. That of a model `m` that exists is
        `tf_roialign.BoxModel(m.input, m.output)`, with the same layers.

    Raises:
      ValueError: As `BoxTraining`.
    """


def _refuse_names(metrics, argument):
    for metric in tf.nest.flatten(metrics):
        if metric is not None and not isinstance(metric, keras.metrics.Metric):
            raise ValueError(
                f"`{argument}` must be objects under a strategy, such as "
                f"`keras.metrics.SparseCategoricalAccuracy()`, got {metric!r}: of anything else, "
                "Keras makes the metric in the middle of the first step"
            )


def _has_ragged_labels(x, y):
    spec = getattr(x, "element_spec", None)
    if spec is not None:  # a dataset
        y = spec[1] if isinstance(spec, tuple) and len(spec) > 1 else None
    return any(
        isinstance(leaf, tf.RaggedTensor | tf.RaggedTensorSpec) for leaf in tf.nest.flatten(y)
    )


def _flat(data):
    """(inputs, labels, sample weights) with one row per box in the last two."""
    inputs, *of_boxes = keras.utils.unpack_x_y_sample_weight(data)
    return inputs, *(tf.nest.map_structure(_rows, part) for part in of_boxes)


def _rows(value):
    if not isinstance(value, tf.RaggedTensor):
        return value
    rows = value.values
    if isinstance(rows, tf.RaggedTensor):  # tf.ragged.constant makes other dimensions ragged too
        rows = rows.to_tensor()
    if rows.shape[1:].is_fully_defined():
        # Of no image tf.data makes a tensor of shape [0], whatever its static shape says.
        rows = tf.reshape(rows, [-1, *rows.shape[1:]])
    return rows


def _as_logs(logs):
    """Of several workers, Keras takes the mean along an axis that scalars lack."""
    if not isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return logs
    return {name: value[None] for name, value in logs.items()}
