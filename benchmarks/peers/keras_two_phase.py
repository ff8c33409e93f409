"""The two-phase job as the classic Keras script: VGG16 without its top, a dense head, then block5 by slow SGD.

python keras_two_phase.py FOLDER --epochs 10 5 [--weights FILE]

Runs in an environment of its own with tensorflow and safetensors. FOLDER holds train and valid with one folder a class
in each. Prints one JSON line at the end.
"""

import argparse
import json
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from keras.applications import VGG16
from keras.applications.imagenet_utils import preprocess_input
from safetensors.numpy import load_file

SIDE, BATCH = 224, 16
FROZEN_LAYERS = 15
"""The first layers of Keras's VGG16: the input and blocks 1 to 4."""


class EpochSeconds(keras.callbacks.Callback):
    """Seconds of each epoch, validation included."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.began)


def main() -> None:
    options = arguments()
    keras.utils.set_random_seed(options.seed)
    train, valid = (photos(f"{options.folder}/{part}", shuffle=part == "train") for part in ("train", "valid"))
    base = VGG16(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))
    if options.weights:
        set_weights(base, load_file(options.weights))
    top = [layers.Flatten(), layers.Dense(256, "relu"), layers.Dropout(0.5), layers.Dense(1, "sigmoid")]
    model = keras.Sequential([base, *top])
    warm_up_s, epoch_s = 0.0, []
    phases = [(len(base.layers), keras.optimizers.Adam()), (FROZEN_LAYERS, keras.optimizers.SGD(1e-4, momentum=0.9))]
    for epochs, (frozen, optimizer) in zip(options.epochs, phases, strict=True):
        for index, layer in enumerate(base.layers):
            layer.trainable = index >= frozen
        model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
        began = time.perf_counter()
        compile_now(model, train, valid)
        warm_up_s += time.perf_counter() - began
        clock = EpochSeconds()
        history = model.fit(train, validation_data=valid, epochs=epochs, callbacks=[clock], verbose=0)
        epoch_s.append(clock.seconds)
    accuracy = history.history["val_accuracy"][-1]
    note = f"Keras is {keras.__version__} on TensorFlow {tf.__version__}."
    print(json.dumps({"warm_up_s": warm_up_s, "epoch_s": epoch_s, "accuracy": accuracy, "note": note}))


def photos(folder: str, shuffle: bool) -> tf.data.Dataset:
    """Batches of squished photos, normalised as torchvision's weights want them, and 0 or 1."""
    found = keras.utils.image_dataset_from_directory(
        folder, label_mode="binary", batch_size=BATCH, image_size=(SIDE, SIDE), shuffle=shuffle, verbose=False
    )
    return found.map(lambda x, y: (preprocess_input(x, mode="torch"), y), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def set_weights(base: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    """Give Keras's convolutions (height, width, in, out) torch's weights (out, in, height, width), in their order."""
    names = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("features.")})
    convolutions = [layer for layer in base.layers if isinstance(layer, layers.Conv2D)]
    for number, layer in zip(names, convolutions, strict=True):
        kernel, bias = (tensors[f"features.{number}.{part}"].astype("float32") for part in ("weight", "bias"))
        layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])


def compile_now(model: keras.Model, train: tf.data.Dataset, valid: tf.data.Dataset) -> None:
    """One step of training and of validation on every size of batch that comes; the weights are put back."""
    weights = model.get_weights()
    model.fit(sizes(train), validation_data=sizes(valid), verbose=0)
    model.set_weights(weights)


def sizes(batches: tf.data.Dataset) -> tf.data.Dataset:
    """A full batch, and one as large as the last, which XLA compiles a program of its own for."""
    *_, last = (len(y) for _, y in batches)
    one = batches.take(1)
    return one.concatenate(one.unbatch().take(last).batch(BATCH))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, nargs=2, required=True, metavar=("HEAD", "BLOCK5"))
    parser.add_argument("--weights", help="a safetensors file with timm's names; random without")
    parser.add_argument("--seed", type=int, default=42)
    return parser.parse_args()


if __name__ == "__main__":
    main()
