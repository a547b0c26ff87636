"""What the peers in TensorFlow have in common."""

import functools

import numpy as np
import tensorflow as tf

from peers.base import BasePeer, BaseProblem


class TensorFlowPeer(BasePeer):
    packages = ("tensorflow", "tensorflow-cpu")
    layouts = ("NHWC",)
    problem_type = None

    def __init__(self, threads):
        super().__init__(threads)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)

    def load(self, workload):
        return self.problem_type(workload)


class TensorFlowProblem(BaseProblem):
    def __init__(self, workload):
        self.workload = workload
        self.features = functools.cache(self._features)
        self.upstream = functools.cache(self._upstream)

    def _features(self, dtype, layout):
        return tf.cast(tf.constant(self.workload.features(layout)), dtype)

    def _upstream(self, dtype, layout):
        return tf.cast(tf.constant(self.workload.upstream(layout)), dtype)

    def to_numpy(self, result):
        return np.asarray(result.numpy(), np.float32)
