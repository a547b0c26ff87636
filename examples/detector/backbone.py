"""From images to the feature pyramid P2 to P5."""

import keras
from keras import layers


def make_pyramid(settings):
    """Images `[N, H, W, 3]` in [0, 1] -> a list of maps `[N, H / stride, W / stride, C]`.

    Nothing in it shifts features: kernels are 4 where the stride is 2, or else odd, so that
    feature i is centred at (i + 0.5) * stride, which is where `aligned=True` takes it to be.
    """
    images = keras.Input([settings.image_size, settings.image_size, 3], name="images")
    x = layers.Rescaling(4.0, offset=-2.0)(images)
    x = _convolution(x, 24, kernel=4, strides=2)
    maps = []
    for filters in (32, 64, 96, 128):
        x = _convolution(x, filters, kernel=4, strides=2)
        x = _residual_block(x, filters)
        maps.append(x)

    channels = settings.channels
    above, pyramid = None, []
    for x in reversed(maps):
        x = layers.Conv2D(channels, 1)(x)
        if above is not None:
            x = layers.Add()([x, layers.UpSampling2D(2)(above)])
        above = x
        pyramid.insert(0, layers.Conv2D(channels, 3, padding="same", activation="relu")(x))
    # Boxes and losses are float32 under every policy, features need not be.
    return keras.Model(images, pyramid, name="pyramid")


def _convolution(x, filters, kernel=3, strides=1, activation="relu"):
    x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.97)(x)
    return layers.Activation(activation)(x) if activation else x


def _residual_block(x, filters):
    y = _convolution(x, filters)
    y = _convolution(y, filters, activation=None)
    return layers.Activation("relu")(layers.Add()([x, y]))
