"""`tf.identity` of RoIAlign's output: what TensorFlow takes to run an op that does nothing."""

import tensorflow as tf

from peers import base
from peers.tensorflow_base import TensorFlowPeer, TensorFlowProblem


class Problem(TensorFlowProblem):
    def case(self, op, dtype, layout):
        output = self.upstream(dtype, layout)
        if op == base.FORWARD:
            return lambda: tf.identity(output)
        if op == base.RAW:
            return lambda: tf.raw_ops.Identity(input=output)
        if op == base.FUNCTION:
            function = tf.function(tf.identity, autograph=False)
            return lambda: function(output)
        raise base.Unsupported(op)


class Peer(TensorFlowPeer):
    ops = base.SERVING_OPS
    problem_type = Problem
