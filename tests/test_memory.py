"""The memory of large outputs is used again, within its bounds, and nothing sees it."""

import re

import programs
import pytest

import tf_roialign

# With the C library's allocator, which is TensorFlow's default on most processors.
PLAIN = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPU_ALLOCATOR_USE_BFC": "0"}

BEGIN = """
import gc, os, sys, threading, time
import numpy as np
import tensorflow as tf
import tf_roialign
from tf_roialign import kept_memory, limit_kept_memory

MB = 2**20
features = tf.random.stateless_normal([2, 40, 50, 64], [1, 2])
boxes = tf.constant([[k % 2, k, k / 2, k + 40.0, k + 50.0] for k in range(200)])

def pool(count=200):
    return tf_roialign.roi_align(features, boxes[:count], 7, 0.5, 2)
"""


def run(program, **variables):
    return programs.run(BEGIN + program, **{**PLAIN, **variables}).stdout


def test_outputs_take_the_place_of_former_ones():
    run("""
assert kept_memory()[:2] == (0, 0)
first = pool()
size = 200 * 49 * 64 * 4
in_use = kept_memory().in_use
assert size <= in_use <= size * 9 // 8, kept_memory()
expected, place = first.numpy().copy(), first.numpy().ctypes.data
second = pool()
assert kept_memory()[:2] == (2 * in_use, 0)
del first
gc.collect()
assert kept_memory()[:2] == (in_use, in_use)
third = pool()
assert kept_memory()[:2] == (2 * in_use, 0)
assert third.numpy().ctypes.data == place
for each in (second, third):
    np.testing.assert_array_equal(each, expected)

# A view keeps it from being used again.
view = second.numpy()
del second
fourth = pool()
np.testing.assert_array_equal(view, expected)
""")


def test_training_keeps_no_more_than_it_uses():
    """A Keras model: the same memory from step to step, and the numbers that it has without."""
    program = """
import keras
limit_kept_memory(int(sys.argv[1]))
keras.utils.set_random_seed(0)
maps, rois = keras.Input([40, 50, 8]), keras.Input([30, 4])
x = keras.layers.Conv2D(64, 3, padding="same", activation="relu")(maps)
x = tf_roialign.RoIAlign(7, 0.5, 2)(x, rois)
x = keras.layers.Conv2D(16, 3)(keras.layers.Reshape([30 * 7, 7, 64])(x))
y = keras.layers.Dense(1)(keras.layers.Flatten()(x))
model = keras.Model([maps, rois], y)
model.compile("sgd", "mse")
rng = np.random.default_rng(0)
corner = rng.uniform(0, 40, [4, 30, 2])
data = [rng.normal(size=[4, 40, 50, 8]), np.concatenate([corner, corner + 30], -1)]
data = [each.astype("float32") for each in data]
held = []
for step in range(6):
    model.train_on_batch(data, np.ones([4, 1]))
    gc.collect()
    held.append(sum(kept_memory()[:2]))
assert held[-1] == held[1], held
assert (held[-1] > 0) == (sys.argv[1] != "0"), held
print(model.evaluate(data, np.ones([4, 1]), verbose=0))
"""
    results = [programs.run(BEGIN + program, limit, **PLAIN).stdout for limit in (0, 2**20 * 256)]
    assert results[0] == results[1]


def test_limit():
    run("""
assert kept_memory().limit == 3 * MB
outputs = [pool() for _ in range(4)]
del outputs
gc.collect()
assert 0 < kept_memory().waiting <= 3 * MB
limit_kept_memory(0)
assert kept_memory() == (0, 0, 0)
pool()
gc.collect()
assert kept_memory() == (0, 0, 0)
limit_kept_memory(np.int64(5))
assert kept_memory().limit == 5
""", TF_ROIALIGN_KEPT_MEMORY_MB="3")  # fmt: skip


@pytest.mark.parametrize("text", ["", "much", "-1", "nan"])
def test_a_limit_that_is_none(text):
    process = programs.run(
        BEGIN + "print(kept_memory().limit)", **PLAIN, TF_ROIALIGN_KEPT_MEMORY_MB=text
    )
    assert 2**20 < int(process.stdout) <= 2**30
    said = f'TF_ROIALIGN_KEPT_MEMORY_MB is "{text}", which is not a number of megabytes'
    assert (said in process.stderr) == bool(text)


def test_returned_when_idle():
    run("""
pool()
gc.collect()
assert kept_memory().waiting > 0
end = time.monotonic() + 60
while kept_memory().waiting:
    assert time.monotonic() < end
    time.sleep(0.2)
np.testing.assert_array_equal(pool(), pool())
""")


def test_threads_and_a_fork():
    run("""
expected = {count: pool(count).numpy() for count in (150, 170, 200)}

def work(seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        count = int(rng.choice(list(expected)))
        np.testing.assert_array_equal(pool(count), expected[count])

failed = []
threading.excepthook = failed.append
threads = [threading.Thread(target=work, args=[seed]) for seed in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
gc.collect()
assert kept_memory().in_use == 0

kept = pool()
assert kept_memory().waiting > 0
child = os.fork()
if child == 0:
    right = kept_memory().waiting == 0 and np.array_equal(kept, expected[200])
    os._exit(0 if right else 1)
assert os.waitpid(child, 0)[1] == 0
assert kept_memory().waiting > 0
""")


def test_other_allocators_are_left_alone():
    """TensorFlow's BFC allocator keeps memory itself."""
    run("pool(); assert kept_memory()[:2] == (0, 0)", TF_CPU_ALLOCATOR_USE_BFC="1")


def test_report():
    process = programs.run(
        "from tf_roialign.__main__ import main; main()", TF_ROIALIGN_KEPT_MEMORY_MB="100"
    )
    assert re.search(r"^kept memory +at most 100 MB$", process.stdout, re.MULTILINE)


def test_errors():
    with pytest.raises(ValueError, match=r"`limit` must be at least 0, got -1"):
        tf_roialign.limit_kept_memory(-1)
    with pytest.raises(TypeError, match=r"`limit` must be an integer, got 0\.5"):
        tf_roialign.limit_kept_memory(0.5)
