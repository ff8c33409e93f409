"""Benchmarks: how they measure, what they write, and that their peers do what they say."""

import re
import sys
import zipfile
from collections import Counter

import pytest
import timm
import torch
from PIL import Image
from torch import nn

from benchmarks import elpv_data, limit
from benchmarks.elpv import t_interval
from benchmarks.processes import measured
from benchmarks.report import BenchmarkError, command, table, with_section
from benchmarks.scaling import disk_use, write_copies
from benchmarks.two_phase import job_s

PROBABILITIES = (0.0, 1 / 3, 2 / 3, 1.0)


@pytest.fixture
def wheel(tmp_path):
    """A wheel as the ELPV photos come in, with 80 tiny photos, 20 of each probability."""
    file = tmp_path / "elpv_dataset-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        lines = []
        for number in range(80):
            lines.append(
                f"images/cell{number:04}.png  {PROBABILITIES[number % 4]}    {'mono' if number < 40 else 'poly'}"
            )
            with archive.open(f"elpv_dataset/data/images/cell{number:04}.png", "w") as png:
                Image.new("L", (24, 24), number).save(png, "PNG")
        archive.writestr("elpv_dataset/data/labels.csv", "\n".join(lines) + "\n")
        archive.writestr("elpv_dataset/utils.py", "")
    return file


@pytest.fixture
def cells(wheel, tmp_path):
    return elpv_data.read_cells(elpv_data.unpack(wheel, tmp_path / "elpv"))


def labels(some):
    return Counter(cell.label for cell in some)


class TestElpvPhotos:
    def test_are_defective_from_a_probability_of_a_half(self, cells):
        assert len(cells) == 80
        assert {cell.probability: cell.label for cell in cells} == {
            0.0: "functional",
            1 / 3: "functional",
            2 / 3: "defective",
            1.0: "defective",
        }
        assert all(cell.file.is_file() for cell in cells)

    def test_are_split_by_class_into_parts_that_share_nothing(self, cells):
        parts = elpv_data.split(cells[:60] + cells[62::4] + cells[63::4], seed=1, valid=0.2, test=0.25)
        every = [cell.file for part in parts.values() for cell in part]
        assert len(every) == len(set(every)) == 70
        # 30 functional and 40 defective: a quarter of 70 is 18 with its rounding, a fifth of the other 52 is 11
        assert {name: len(part) for name, part in parts.items()} == {"train": 41, "valid": 11, "test": 18}
        for part in parts.values():
            assert labels(part)["defective"] / len(part) == pytest.approx(4 / 7, abs=1 / len(part))

    def test_are_split_the_same_way_by_the_same_seed_only(self, cells):
        first, same, other = (elpv_data.split(cells, seed, valid=0.2, test=0.25) for seed in (1, 1, 2))
        assert first == same
        assert set(first["test"]) != set(other["test"])

    def test_can_be_fewer_with_the_same_share_of_each_class(self, cells):
        few = elpv_data.subset(cells, 10, seed=0)
        assert labels(few) == {"functional": 5, "defective": 5}
        assert elpv_data.subset(cells, None, seed=0) == elpv_data.subset(cells, 80, seed=0) == cells

    def test_that_are_too_few_are_refused(self, cells):
        with pytest.raises(BenchmarkError, match="There are 80 photos, so 81 cannot be drawn"):
            elpv_data.subset(cells, 81, seed=0)
        with pytest.raises(BenchmarkError, match="3 photos are too few to part by class"):
            elpv_data.split(cells[:3], seed=0, valid=0.2)

    def test_become_folders_that_thaw_imports(self, cells, store, tmp_path):
        from learner.datasets import add_dataset, summarize

        parts = elpv_data.split(cells, seed=0, valid=0.25)
        add_dataset(store, elpv_data.write_split(parts, tmp_path / "photos"), "elpv")
        summary = summarize(store, store.datasets.version("elpv"))
        assert summary.counts == {label: {"train": 30, "valid": 10} for label in ("defective", "functional")}

    def test_that_cannot_be_downloaded_end_in_a_sentence(self, monkeypatch, tmp_path):
        monkeypatch.setattr(elpv_data, "CACHE", tmp_path)
        monkeypatch.setattr(elpv_data, "FOLDER", tmp_path / "elpv")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        with pytest.raises(BenchmarkError, match="could not be downloaded by pip: No matching distribution"):
            elpv_data.cells()
        assert not list(tmp_path.iterdir())

    def test_are_copied_for_large_data_sets_without_two_files_alike(self, cells, tmp_path):
        (tmp_path / "defective").mkdir()
        photo = next(cell for cell in cells if cell.label == "defective")
        Image.radial_gradient("L").save(photo.file)
        write_copies(photo, 70, tmp_path)
        files = list((tmp_path / "defective").iterdir())
        assert len(files) == len({file.read_bytes() for file in files}) == 70


class TestTheLimit:
    def test_counts_the_multiply_adds_that_a_real_vgg16_makes(self):
        blocks = [0]

        def count(module, images, output):
            if isinstance(module, nn.MaxPool2d):
                blocks.append(0)
            else:
                kernel = module.weight[0].numel()  # multiply-adds of one value of the output
                blocks[-1] += kernel * output.numel()

        features = timm.create_model("vgg16", num_classes=0, mlp_ratio=1 / 4096).features
        for module in features:
            if isinstance(module, nn.Conv2d | nn.MaxPool2d):
                module.register_forward_hook(count)
        with torch.no_grad():
            features(torch.zeros(1, 3, 64, 64))
        assert limit.stage_macs(64) == blocks[:-1]

    def test_of_vgg16_at_224_is_what_the_literature_says(self):
        assert sum(limit.stage_macs(224)) == 15_346_630_656  # 15.5 billion with its three dense layers

    def test_computes_frozen_blocks_once_and_block5_once_an_epoch(self):
        *frozen, block5 = limit.stage_macs()
        images_once = 10 * (sum(frozen) + block5)
        assert limit.job_macs(train=8, valid=2, epochs=0) == images_once
        # forward for all; for training photos gradients of three convolutions' weights and of two's inputs
        assert limit.job_macs(train=8, valid=2, epochs=5) == images_once + 5 * (10 * block5 + 8 * (block5 * 5 // 3))


class TestScaling:
    def test_a_peer_to_the_whole_job_repeats_epochs_and_nothing_else(self):
        # 100 s: 20 s outside epochs, 10 s compiling, 30 s for an epoch of the head, 40 s for one of block5
        assert job_s(100.0, 10.0, [[30.0], [40.0]], (10, 5)) == pytest.approx(20 + 10 * 30 + 5 * 40)

    def test_several_measured_epochs_count_with_their_mean(self):
        assert job_s(50.0, 0.0, [[10.0, 12.0], [7.0, 9.0]], (10, 5)) == pytest.approx(12 + 10 * 11 + 5 * 8)

    def test_a_whole_run_is_its_own_time(self):
        assert job_s(50.0, 0.0, [[3.0] * 10, [2.0] * 5], (10, 5)) == pytest.approx(50)


class TestTheDocument:
    DOCUMENT = (
        "# Measurements\n\n<!-- a -->\nold a\n<!-- /a -->\n\nBetween.\n\n<!-- b -->\nold b\n<!-- /b -->\n\nEnd.\n"
    )

    def test_gets_a_new_section_in_the_place_of_the_old_one_only(self):
        assert with_section(self.DOCUMENT, "a", "new") == self.DOCUMENT.replace("old a", "new")
        assert with_section(self.DOCUMENT, "b", "new") == self.DOCUMENT.replace("old b", "new")

    def test_gets_a_section_that_it_lacks_at_its_end(self):
        longer = with_section(self.DOCUMENT, "c", "## C\n")
        assert longer == self.DOCUMENT + "\n<!-- c -->\n## C\n<!-- /c -->\n"
        assert with_section(longer, "c", "## C") == longer

    def test_with_half_of_the_marks_is_left_alone(self):
        with pytest.raises(BenchmarkError, match="<!-- a --> and <!-- /a --> must both stand"):
            with_section("<!-- /a --> <!-- a -->", "a", "new")

    def test_names_no_folder_of_the_machine(self, monkeypatch):
        words = [
            "/srv/b/two_phase.py",
            "--weights",
            "/srv/w/vgg16.pth",
            "--recipe=~/x/r.yaml",
            "--images",
            "9",
            "--write",
        ]
        monkeypatch.setattr("sys.argv", words)
        assert command() == "python benchmarks/two_phase.py --weights vgg16.pth --recipe=r.yaml --images 9"

    def test_shows_what_is_not_known_as_a_dash(self):
        assert table(("", "a"), [["x", None]]).splitlines()[-1] == "| x | – |"


def test_the_interval_over_seeds_is_students():
    # mean 0.9, variance 0.0004 / 3, four values: t(0.975, 3) = 3.182
    low, high = t_interval([0.89, 0.89, 0.91, 0.91])
    assert (high + low) / 2 == pytest.approx(0.9)
    assert (high - low) / 2 == pytest.approx(3.182 * (0.0004 / 3) ** 0.5 / 2, rel=1e-3)
    assert t_interval([0.9]) is None


class TestAMeasuredCommand:
    def test_tells_its_output_its_time_and_the_memory_of_all_it_starts(self):
        child = "block = bytearray(80_000_000); import time; time.sleep(0.7)"
        script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print('done')"
        done = measured([sys.executable, "-c", script], {})
        assert done.stdout == "done\n"
        assert done.seconds > 0.7
        assert 80e6 < done.peak_anon < done.peak_rss < 400e6

    def test_that_fails_ends_in_its_own_last_words(self):
        with pytest.raises(BenchmarkError, match=re.escape("ended with code 3") + "(?s:.*)no such luck"):
            measured([sys.executable, "-c", "import sys; print('no such luck', file=sys.stderr); sys.exit(3)"], {})

    def test_is_watched_while_it_runs(self, tmp_path):
        script = f"import pathlib, time; f = pathlib.Path({str(tmp_path)!r}, 'x'); f.write_bytes(bytes(200_000)); "
        done = measured([sys.executable, "-c", script + "time.sleep(0.6); f.unlink()"], {}, lambda: disk_use(tmp_path))
        assert done.peak_watched >= 200_000
        assert disk_use(tmp_path) == 0
