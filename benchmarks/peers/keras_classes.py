"""The classic two-phase Keras script for any number of classes: a dense head on VGG16, then block5 by slow SGD.

Zooms, slants and, where a class allows them, mirror images, as in that script. A fifth of the images is for validation,
which nothing is chosen by; the last epoch counts. Runs in an environment of its own: see environments.py.
"""

import json
from pathlib import Path

import keras
import tensorflow as tf
from keras import layers
from keras.applications import VGG16
from keras.applications.imagenet_utils import preprocess_input
from keras_two_phase import BATCH, FROZEN_LAYERS, set_weights
from safetensors.numpy import load_file
from task import answer, arguments

EPOCHS, VALID = (10, 5), 0.2


def main() -> None:
    options = arguments(__doc__)
    keras.utils.set_random_seed(options.seed)
    side = options.size
    parts = {"validation_split": VALID, "subset": "both", "seed": options.seed, "shuffle": True}
    train, valid = found = photos(options.learn, side, label_mode="int", **parts)
    classes = found[0].class_names
    change = keras.Sequential(
        [
            *([layers.RandomFlip("horizontal")] if options.mirror else []),
            layers.RandomZoom(0.2),
            layers.RandomShear(0.2),
        ]
    )
    train = train.map(lambda x, y: (change(x, training=True), y), tf.data.AUTOTUNE)
    train, valid = (part.map(lambda x, y: (normalised(x), y)).prefetch(tf.data.AUTOTUNE) for part in (train, valid))
    base = VGG16(weights=None, include_top=False, input_shape=(side, side, 3))
    if options.weights:
        set_weights(base, load_file(options.weights))
    top = [layers.Flatten(), layers.Dense(256, "relu"), layers.Dropout(0.5), layers.Dense(len(classes), "softmax")]
    model = keras.Sequential([base, *top])
    phases = [(len(base.layers), keras.optimizers.Adam()), (FROZEN_LAYERS, keras.optimizers.SGD(1e-4, momentum=0.9))]
    for epochs, (frozen, optimizer) in zip(EPOCHS, phases, strict=True):
        for index, layer in enumerate(base.layers):
            layer.trainable = index >= frozen
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(train, validation_data=valid, epochs=epochs, verbose=0)
    asked = photos(options.ask, side, labels=None, shuffle=False)
    files = [Path(file) for file in asked.file_paths]
    answer(options.out, classes, files, model.predict(asked.map(normalised), verbose=0).tolist())
    note = f"Keras is {keras.__version__} on TensorFlow {tf.__version__}."
    print(json.dumps({"valid_accuracy": history.history["val_accuracy"][-1], "note": note}))


def photos(folder: Path, side: int, **how):
    """Batches of squished photos, 0 to 255."""
    return keras.utils.image_dataset_from_directory(
        folder, batch_size=BATCH, image_size=(side, side), verbose=False, **how
    )


def normalised(images: tf.Tensor) -> tf.Tensor:
    """As torchvision's weights want them."""
    return preprocess_input(images, mode="torch")


if __name__ == "__main__":
    main()
