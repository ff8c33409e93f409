"""Batches: every image comes once an epoch with its own label, decoded once a run, and trouble reaches the caller."""

import hashlib
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import learner.features.loaders
from learner.datasets.images import read_squished
from learner.errors import ImageError
from learner.features.loaders import Decoder, LabelledFile, Order, Views, ahead, make_dataloaders
from learner.features.preprocess import Preprocess
from learner.recipe import Augment, Phase
from learner.training.process import execute
from tests.samples import make_photos, small_recipe

PLAIN = Preprocess(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def files(tmp_path) -> list[LabelledFile]:
    """Eleven images, each of one grey that says which it is."""
    made = []
    for number in range(11):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (20, 20), (number * 20,) * 3).save(path)
        made.append(LabelledFile(path, "odd" if number % 2 else "even", hashlib.sha256(path.read_bytes()).hexdigest()))
    return made


def loaders(files, views=None, batch_size=4):
    cpu = torch.device("cpu")
    return make_dataloaders(files, files, ["even", "odd"], Decoder(16), PLAIN, views, batch_size, cpu, Order(0))


def numbers(x: torch.Tensor) -> list[int]:
    """Which images a batch holds, from their grey."""
    return (x.mean((1, 2, 3)) * 255 / 20).round().int().tolist()


def test_an_epoch_has_every_image_once_with_its_label_and_another_order_each_time(files):
    train = loaders(files).train
    orders = []
    for epoch in range(3):
        train.epoch = epoch
        order = []
        for x, y in train:
            assert [number % 2 for number in numbers(x)] == y.tolist()
            order += numbers(x)
        assert sorted(order) == list(range(11))
        orders.append(tuple(order))
    assert len(set(orders)) == 3


def test_an_epoch_goes_on_after_the_batches_that_were_seen(files):
    train = loaders(files).train
    train.epoch = 1
    whole = [numbers(x) for x, _ in train]
    train.first_batch = 2
    assert [numbers(x) for x, _ in train] == whole[2:]
    assert len(train) == 3  # of the whole epoch, which the schedule counts


def test_oversampling_shows_every_class_about_as_often(files):
    few = [replace(file, label="odd" if index < 2 else "even") for index, file in enumerate(files)]
    drawn = Counter(
        few[index].label for epoch in range(200) for index in Order.of(few, 7, oversample=True).of_epoch(epoch, 11)
    )
    # 2,200 fair draws: five standard deviations of the share are 5 × sqrt(0.25 / 2200), 5.4 %
    assert drawn["odd"] / drawn.total() == pytest.approx(0.5, abs=0.054)


def test_an_image_of_weight_2_comes_twice_as_often_as_others(files):
    heavy = [replace(file, weight=2.0 if index == 3 else 1.0) for index, file in enumerate(files)]
    order = Order.of(heavy, 0, oversample=False)
    drawn = Counter(index for epoch in range(300) for index in order.of_epoch(epoch, 11))
    assert drawn[3] / drawn.total() == pytest.approx(2 / 12, abs=5 * (2 / 12 * 10 / 12 / 3300) ** 0.5)
    assert Order.of(files, 0, oversample=False).chances is None


def test_validation_comes_in_order_and_unchanged(files):
    views = Views(Augment(lighting=0.9), 2, seed=0)
    valid = loaders(files, views).valid
    assert [number for x, _ in valid for number in numbers(x)] == list(range(11))


def test_a_last_training_batch_of_one_is_left_out(files):
    dls = loaders(files, batch_size=5)
    assert [len(y) for _, y in dls.train] == [5, 5]
    assert [len(y) for _, y in dls.valid] == [5, 5, 1]
    assert (len(dls.train), len(dls.valid)) == (2, 3)


def test_each_epoch_draws_one_of_the_views_the_same_ones_for_the_same_seed():
    views = Views(Augment(rotate=10), 3, seed=5)
    drawn = np.stack([views.of_epoch(epoch, np.arange(400), 400) for epoch in range(3)])
    assert set(drawn.ravel()) == {0, 1, 2}
    assert all(100 < count < 170 for count in np.bincount(drawn[0]))  # 133 each by chance
    assert not np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(views.of_epoch(1, np.array([7, 3]), 400), drawn[1][[7, 3]])
    assert not np.array_equal(Views(Augment(rotate=10), 3, seed=6).of_epoch(0, np.arange(400), 400), drawn[0])
    endless = Views(Augment(rotate=10), 0, seed=5)
    assert endless.of_epoch(41, np.arange(3), 3).tolist() == [41] * 3


def test_no_epoch_decodes_an_image_again_nor_does_the_next_run(pets, monkeypatch):
    read = []
    plain = read_squished
    monkeypatch.setattr(
        learner.features.loaders, "read_squished", lambda path, size: read.append(path) or plain(path, size)
    )
    phases = [Phase("Warm-up", "head", 2), Phase("Fine-tuning", "all", 2, lr=1e-4)]
    for _ in range(2):
        run_id = pets.submit(small_recipe(phases=phases), running=True)
        assert execute(pets, run_id) == "finished", pets.runs.get(run_id).reason
    assert len(read) == len(set(read)) == 40


def test_a_file_that_cannot_be_read_reaches_the_caller_by_name(files):
    files[6].path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"6\.png"):
        list(loaders(files).valid)


def test_jobs_are_done_ahead_in_order_and_their_thread_ends_with_the_loop():
    done = []

    def job(number: int) -> int:
        done.append(number)
        return number

    results = ahead((lambda n=n: job(n)) for n in range(10))
    assert next(results) == 0
    assert list(results) == list(range(1, 10)) and done == list(range(10))
    results = ahead((lambda n=n: job(n)) for n in range(100, 200))
    next(results)
    results.close()
    assert max(done) < 110
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


# Large photos


def test_a_large_jpeg_decoded_smaller_looks_the_same(tmp_path):
    (photo,) = make_photos(tmp_path, {"cat": 1}, size=(1600, 1200)).rglob("*.jpg")
    quick = np.asarray(read_squished(photo, 96), dtype=float)
    with Image.open(photo) as image:
        whole = np.asarray(image.convert("RGB").resize((96, 96), Image.Resampling.BILINEAR), dtype=float)
    assert quick.shape == (96, 96, 3)
    assert np.abs(quick - whole).mean() < 1.5  # of 255


@pytest.mark.parametrize(("size", "decoded"), [(96, (400, 300)), (224, (800, 600)), (700, (1600, 1200))])
def test_a_jpeg_is_never_decoded_at_less_than_twice_what_is_needed(tmp_path, monkeypatch, size, decoded):
    (photo,) = make_photos(tmp_path, {"cat": 1}, size=(1600, 1200)).rglob("*.jpg")
    seen = []
    plain = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, *args: seen.append(self.size) or plain(self, *args))
    read_squished(photo, size)
    assert seen == [decoded]


def test_a_photo_turned_by_its_camera_stays_upright_when_decoded_smaller(tmp_path):
    image = Image.new("RGB", (1200, 800), "black")
    image.paste("white", (0, 0, 1200, 200))  # white on top
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "turned.jpg", exif=exif)
    pixels = np.asarray(read_squished(tmp_path / "turned.jpg", 32))
    assert pixels[-3].mean() > 200 and pixels[3].mean() < 50
