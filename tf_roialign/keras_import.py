"""Imports Keras, or says in one sentence why that fails.

It fails where Keras is to run on a framework that is not installed.
"""

import os

try:
    import keras  # noqa: F401
except ImportError as error:
    backend = os.environ.get("KERAS_BACKEND")
    now = f'"{backend}" now' if backend else "not set now"
    raise ImportError(
        f"tf_roialign needs Keras, which cannot be imported: {str(error).rstrip('.')}. Keras runs "
        f"on what the environment variable KERAS_BACKEND names ({now}), or else "
        "~/.keras/keras.json: set KERAS_BACKEND=tensorflow."
    ) from error
