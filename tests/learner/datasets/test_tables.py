"""A table of files and classes is read whatever wrote it, and what in it fits no file is told."""

import codecs
import io
import zipfile

import openpyxl
import pytest
from scipy.io import savemat

from learner.datasets.layouts import Choice, Listing, Table, listing_of, place, preview, recognise
from learner.datasets.layouts.tables import MAX_TABLE_BYTES, FileIndex, read_table
from learner.datasets.sources import open_source
from learner.errors import DatasetError

IMAGES = ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
TEXT = "file,label\n1.jpg,café\n2.jpg,naïve\n"
ROWS = [["1.jpg", "café"], ["2.jpg", "naïve"]]


def excel(rows: list[list]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def with_table(rows: list[list[str]], columns: list[str] | None = None, images: list[str] = IMAGES) -> Listing:
    return Listing("pets", [*images, "labels.csv"], {"labels.csv": Table(columns or ["file", "label"], rows)})


def found(listing: Listing, **columns: str) -> dict[str, str]:
    choice = Choice("table", table="labels.csv", **{"file_column": "file", "label_column": "label"} | columns)
    return {item.source_path: item.label for item in place(listing, choice).placed}


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("latin-1"),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").replace("\n", "\r\n").encode(),
        TEXT.replace(",", " | ").encode(),
        TEXT.replace(",", "   ").encode(),
        b'"file","label"\r"1.jpg","caf\xc3\xa9"\r"2.jpg","na\xc3\xafve"\r\r',
    ],
)
def test_any_text_encoding_and_delimiter(data):
    assert read_table("labels.csv", data) == Table(["file", "label"], ROWS)


def test_decimal_commas_do_not_part_cells_between_semicolons():
    table = read_table("t.csv", b"datei;klasse;gewicht\n1.jpg;Katze;0,5\n2.jpg;Hund;1,25\n")
    assert table.rows == [["1.jpg", "Katze", "0,5"], ["2.jpg", "Hund", "1,25"]]


def test_an_excel_sheet_is_read_as_text():
    table = read_table("labels.xlsx", excel([["file", "label", "n"], ["1.jpg", 7, None], ["007", "ja", 2.5]]))
    assert table == Table(["file", "label", "n"], [["1.jpg", "7", ""], ["007", "ja", "2.5"]])


def test_a_first_row_of_data_is_no_heading():
    elpv = b"images/cell0001.png  1.0   mono\nimages/cell0002.png  0.0   poly\n"
    assert read_table("labels.csv", elpv) == Table(
        ["column 1", "column 2", "column 3"],
        [["images/cell0001.png", "1.0", "mono"], ["images/cell0002.png", "0.0", "poly"]],
    )
    assert read_table("t.csv", b"cell0001,a\ncell0002,b\n", ["x/cell0001.png"]).columns == ["column 1", "column 2"]
    assert read_table("t.csv", b"image,a\ncell0002,b\n", ["x/image.png"]).columns == ["image", "a"]


def test_odd_headings_and_ragged_rows_keep_their_place():
    table = read_table("t.csv", b"file,,label,label\n1.jpg,x,cat\n2.jpg,y,dog,puppy,more\n")
    assert table.columns == ["file", "column 2", "label", "label (2)"]
    assert table.rows == [["1.jpg", "x", "cat", ""], ["2.jpg", "y", "dog", "puppy"]]


def test_the_elpv_list_is_recognised_as_it_is():
    listing = Listing(
        "elpv",
        [*(f"src/images/cell{number:04}.png" for number in range(1, 9)), "src/labels.csv"],
        {
            "src/labels.csv": read_table(
                "labels.csv",
                "".join(f"images/cell{number:04}.png  {number % 2:.1f}  mono\n" for number in range(1, 9)).encode(),
            )
        },
    )
    proposal = recognise(listing)[0]
    assert (proposal.choice.file_column, proposal.choice.label_column) == ("column 1", "column 2")
    assert proposal.counts == {"0.0": {"": 4}, "1.0": {"": 4}}
    assert proposal.set_aside == {}


def test_the_columns_are_found_by_what_they_hold_and_are_called():
    columns = ["id", "Patient ID", "width", "diagnosis", "Partition", "sample_weight", "Bild"]
    rows = [
        ["1", "p0", "640", "well", "val", "0,5", "1.jpg"],
        ["2", "p1", "640", "ill", "train", "0,5", "2.jpg"],
        ["3", "p1", "640", "well", "val", "1", "3.jpg"],
        ["4", "p2", "640", "ill", "train", "1", "4.jpg"],
    ]
    proposal = recognise(with_table(rows, columns))[0]
    assert proposal.choice == Choice(
        "table",
        table="labels.csv",
        file_column="Bild",
        label_column="diagnosis",
        split_column="Partition",
        group_column="Patient ID",
        weight_column="sample_weight",
    )
    assert proposal.reason == (
        "labels.csv names the files in Bild, the classes in diagnosis, the splits in Partition, the groups in "
        "Patient ID and the weights in sample_weight; 2 classes (ill, well)."
    )
    first = place(with_table(rows, columns), proposal.choice).placed[0]
    assert (first.label, first.split, first.group, first.weight) == ("well", "valid", "p0", 0.5)


def test_a_named_class_is_preferred_to_its_number_and_a_table_to_folders():
    rows = [[f"{number}.jpg", str(number % 2), ("cat", "dog")[number % 2]] for number in range(1, 5)]
    images = [f"part {number % 2}/{number}.jpg" for number in range(1, 5)]
    proposals = recognise(with_table(rows, ["file", "class_id", "class_name"], images))
    assert [proposal.choice.kind for proposal in proposals][:2] == ["table", "folders"]
    assert proposals[0].choice.label_column == "class_name"


def test_a_table_without_classes_or_without_these_files_is_no_layout():
    assert recognise(with_table([["1.jpg", "640"], ["2.jpg", "480"]], ["file", "width"]))[0].choice.kind != "table"
    assert recognise(with_table([["x.jpg", "cat"], ["y.jpg", "dog"]]))[0].choice.kind != "table"


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        ("1.jpg", "photos/cats/1.jpg"),
        ("1", "photos/cats/1.jpg"),
        ("cats/1.jpg", "photos/cats/1.jpg"),
        ("./cats/1", "photos/cats/1.jpg"),
        ("cats\\1.JPG", "photos/cats/1.jpg"),
        ("home/me/photos/cats/1.jpg", "photos/cats/1.jpg"),
        ("C:\\data\\photos\\cats\\1.jpg", "photos/cats/1.jpg"),
        ("2.jpg", ""),
        ("dogs/2.jpg", "photos/dogs/2.jpg"),
        ("1.png", ""),
        ("3", ""),
        ("3.png", "photos/3.png"),
        ("birds/1.jpg", ""),
        ("cafe\u0301.jpg", "photos/café.jpg"),
        ("", ""),
        ("/", ""),
    ],
)
def test_a_cell_means_the_one_file_that_it_can_mean(cell, path):
    paths = ["cats/1.jpg", "cats/2.jpg", "dogs/2.jpg", "3.jpg", "3.png", "café.jpg"]
    index = FileIndex([f"photos/{name}" for name in paths])
    assert index.match([cell, "cats/2.jpg"]) == [path, "photos/cats/2.jpg"]


def test_where_no_path_fits_the_names_decide():
    index = FileIndex(["new/cats/1.jpg", "new/dogs/1.jpg", "new/dogs/2.jpg"])
    assert index.match(["old/cats/1.jpg", "old/x/2.jpg", "old/x/1.jpg"]) == ["new/cats/1.jpg", "new/dogs/2.jpg", ""]


def test_case_decides_between_names_that_differ_in_nothing_else():
    index = FileIndex(["a.jpg", "A.jpg"])
    assert index.match(["A.jpg", "a.jpg"]) == ["A.jpg", "a.jpg"]


def test_rows_without_a_file_and_files_without_a_row_are_told():
    rows = [["1.jpg", "cat"], ["2.jpg", "dog"], ["9.jpg", "cat"], ["", "dog"], ["3.jpg", ""]]
    listing = with_table(rows)
    assert found(listing) == {"1.jpg": "cat", "2.jpg": "dog", "3.jpg": "", "4.jpg": ""}
    layout = place(listing, recognise(listing)[0].choice)
    assert layout.set_aside == [("labels.csv", "2 rows of it name no image here, or several, such as 9.jpg.")]
    assert layout.notes == [
        "labels.csv: 2 rows of it name no image here, or several, such as 9.jpg.",
        "labels.csv: 1 image has no row in it and comes in without a class.",
    ]
    assert {item.path: item.reason for item in layout.placed if item.reason} == {
        "3.jpg": "Its row in the table names no class.",
        "4.jpg": "The table has no row for it, so its class is not known.",
    }


def test_one_file_with_two_classes_has_none():
    listing = with_table([["1.jpg", "cat"], ["1.jpg", "dog"], ["2.jpg", "cat"], ["2.jpg", "cat"]])
    assert found(listing) == {"1.jpg": "", "2.jpg": "cat", "3.jpg": "", "4.jpg": ""}
    [odd] = [item for item in place(listing, recognise(listing)[0].choice).placed if item.path == "1.jpg"]
    assert odd.reason == "The table puts it into cat and dog, so its class is not known."


def test_odd_splits_and_weights_are_told_and_left_open():
    columns = ["file", "label", "split", "weight"]
    rows = [["1.jpg", "cat", "TRAIN", "1"], ["2.jpg", "cat", "later", "heavy"], ["3.jpg", "dog", "testing", "-1"]]
    choice = Choice(
        "table", "", 0, "labels.csv", "file", "label", split_column="split", weight_column="weight"
    )  # fmt: skip
    layout = place(with_table(rows, columns), choice)
    assert [(item.split, item.weight) for item in layout.placed[:3]] == [("train", 1.0), ("", None), ("test", None)]
    assert "labels.csv: '-1' is no weight; such images count as 1." in layout.notes
    assert "labels.csv: 'later' is neither train, valid nor test; it is left open." in layout.notes


def test_split_folders_count_where_the_table_names_no_splits():
    images = ["train/1.jpg", "train/2.jpg", "test/3.jpg", "test/4.jpg"]
    listing = with_table([[f"{number}", ("cat", "dog")[number % 2]] for number in range(1, 5)], images=images)
    assert recognise(listing)[0].counts == {"cat": {"train": 1, "test": 1}, "dog": {"train": 1, "test": 1}}


def test_a_wrong_column_is_named_with_those_there_are():
    with pytest.raises(DatasetError, match=r"no column 'klass'\. Its columns are file, label\."):
        found(with_table([["1.jpg", "cat"]]), label_column="klass")
    with pytest.raises(DatasetError, match=r"Say which column of labels\.csv names the files"):
        preview(with_table([["1.jpg", "cat"]]), Choice("table", table="labels.csv"))


def bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", bytes(2 * MAX_TABLE_BYTES + 1))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("t.csv", b"", "It is an empty table."),
        ("t.csv", b"\n,,\n \n", "It is an empty table."),
        ("t.xlsx", b"not a workbook", "It is not an Excel file that can be read. Save it as CSV."),
        ("t.xlsx", excel([["a"]])[:2000], "It is not an Excel file that can be read. Save it as CSV."),
        ("t.xlsx", bomb(), "It is an Excel file that unpacks to more than 64 MB. Keep only the columns needed"),
        ("t.csv", bytes(MAX_TABLE_BYTES + 1), "It is a table of more than 64 MB. Keep only the columns needed."),
        ("t.csv", b'a,b\n1,"' + b"x" * 200_000, "It is a damaged table"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_the_reason(name, data, reason):
    with pytest.raises(DatasetError, match=reason.replace(".", r"\.")):
        read_table(name, data)


def test_a_table_that_would_fill_the_memory_is_refused():
    assert len(read_table("t.csv", b"a,b\n" * 4, most_cells=8).rows) == 3
    with pytest.raises(DatasetError, match=r"It is a table of more than 8 cells\. Keep only the columns needed\."):
        read_table("t.csv", b"a,b\n" * 5, most_cells=8)


def test_tables_and_mat_files_are_read_from_a_source_and_bad_ones_set_aside(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"not opened here")
    (tmp_path / "labels.csv").write_text(TEXT)
    (tmp_path / "labels.xlsx").write_bytes(excel([["file", "label"], ["1.jpg", "cat"]]))
    (tmp_path / "broken.xlsx").write_text("x")
    savemat(tmp_path / "imagelabels.mat", {"labels": [[77, 5]]})
    savemat(tmp_path / "setid.mat", {"trnid": [[1]], "valid": [[2]]})
    listing = listing_of(open_source(tmp_path))
    assert listing.tables["labels.csv"] == Table(["file", "label"], ROWS)
    assert listing.tables["labels.xlsx"].rows == [["1.jpg", "cat"]]
    assert listing.mats == {"imagelabels.mat": {"labels": [77, 5]}}
    assert dict(listing.set_aside) == {
        "broken.xlsx": "It is not an Excel file that can be read. Save it as CSV.",
        "setid.mat": "It is a MATLAB file that does not hold what its name says. Download it again.",
    }
    assert "broken.xlsx" not in listing.paths
    assert Listing.from_dict(listing.to_dict()) == listing


def test_many_tables_are_no_lists_of_files(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.csv").write_text("x,y\n1,2\n")
    assert len(listing_of(open_source(tmp_path)).tables) == 20
