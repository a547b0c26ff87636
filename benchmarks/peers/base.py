"""What a peer has to offer."""

import abc

# What can be timed. Everything but `forward` is optional.
FORWARD = "forward"
GRADIENT = "gradient"  # to the features, the backward alone
BOX_GRADIENT = "box gradient"
BOTH = "both"  # forward, then the gradient to the features, through the autograd
RAW = "raw op"  # the graph op itself, eagerly, without the public function around it
FUNCTION = "function"  # forward inside a tf.function
OPS = (FORWARD, GRADIENT, BOX_GRADIENT, BOTH)
SERVING_OPS = (FORWARD, RAW, FUNCTION)


class Unsupported(Exception):
    """The peer cannot do this; the message says why."""


class BasePeer(abc.ABC):
    """A library, in a process of its own, with a fixed number of threads.

    Made once per process; making it imports the library and sets the threads.
    """

    packages = ()  # distributions whose versions are reported
    layouts = ("NCHW",)
    ops = (FORWARD,)
    facts = {}  # what else the report should say, by name

    def __init__(self, threads):
        self.threads = threads

    @abc.abstractmethod
    def load(self, workload):
        """Returns a `BaseProblem`: the workload in the library's own tensors."""


class BaseProblem(abc.ABC):
    @abc.abstractmethod
    def case(self, op, dtype, layout):
        """Returns a function without arguments that computes and returns a fresh result.

        Raises:
          Unsupported: The library cannot.
        """

    @abc.abstractmethod
    def to_numpy(self, result):
        """The result as a float32 array, in the layout of the case."""
