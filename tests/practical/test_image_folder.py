from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.practical.data import CIFAR10_CLASSES
from headstart.practical.image_folder import class_numbers, list_pictures, load_dataset, natural_order, read_picture
from support.pictures import png_bytes, write_picture

QUARTERS = np.kron(np.array([[250, 180], [90, 20]], dtype=np.uint8), np.ones((60, 60), dtype=np.uint8))
"""Grey, 120 x 120: bright at the top left, dark at the bottom right."""


def save_images(folder: Path, shades: dict[str, list[int]], size: tuple[int, int] = (32, 32)) -> None:
    """One-coloured images, `folder/class/number.png`."""
    for name, values in shades.items():
        (folder / name).mkdir(parents=True)
        for number, value in enumerate(values):
            Image.new("RGB", size, (value, 0, 255 - value)).save(folder / name / f"{number}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, ant and zebra, in train and test."""
    save_images(tmp_path / "my images" / "train", {"zebra": [10, 20], "ant": [30, 40, 50]})
    save_images(tmp_path / "my images" / "test", {"zebra": [60], "ant": [70]})
    return tmp_path / "my images"


# The dataset


def test_images_are_read_class_by_class(folder: Path) -> None:
    dataset = load_dataset(str(folder))
    assert dataset.class_names == ("ant", "zebra")
    assert dataset.x_train[:, 5, 5].tolist() == [[shade, 0, 255 - shade] for shade in (30, 40, 50, 10, 20)]
    assert dataset.y_train.tolist() == [0, 0, 0, 1, 1]
    assert dataset.x_test[:, 5, 5, 0].tolist() == [70, 60]
    assert dataset.y_test.tolist() == [0, 1]
    assert dataset.x_train.dtype == np.uint8
    assert dataset.y_train.dtype == np.int64
    assert dataset.name == "images from the folder “my images”"


def test_images_of_another_size_are_resized(tmp_path: Path) -> None:
    save_images(tmp_path / "train", {"ant": [30], "zebra": [40]}, size=(50, 20))
    save_images(tmp_path / "test", {"ant": [30], "zebra": [40]}, size=(7, 9))
    dataset = load_dataset(str(tmp_path))
    assert dataset.x_train.shape == dataset.x_test.shape == (2, 32, 32, 3)
    assert dataset.x_test[1, 20, 20].tolist() == [40, 0, 215]


def test_images_with_cifar10s_class_names_are_not_called_cifar10(tmp_path: Path) -> None:
    """CINIC-10 has these names, too."""
    for part in ("train", "test"):
        save_images(tmp_path / "cinic" / part, {name: [number] for number, name in enumerate(CIFAR10_CLASSES)})
    dataset = load_dataset(str(tmp_path / "cinic"))
    assert dataset.name == "images with CIFAR-10's class names from the folder “cinic”"
    assert dataset.class_names == CIFAR10_CLASSES
    assert dataset.x_train[:, 0, 0, 0].tolist() == [*range(10)]


def test_a_share_of_each_class_becomes_the_test_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shades = {"ant": [*range(10)], "bee": [*range(20, 40)]}
    save_images(tmp_path / "flat", shades)
    save_images(tmp_path / "deep" / "train", shades)
    (tmp_path / "flat" / "notes.txt").touch()
    flat, deep, other = (
        load_dataset(str(tmp_path / name), 0.2, seed) for name, seed in (("flat", 3), ("deep", 3), ("flat", 4))
    )
    assert np.bincount(flat.y_train).tolist() == [8, 16]
    assert np.bincount(flat.y_test).tolist() == [2, 4]
    assert sorted(flat.x_train[:, 0, 0, 0].tolist() + flat.x_test[:, 0, 0, 0].tolist()) == [*range(10), *range(20, 40)]
    assert ((flat.x_test[:, 0, 0, 0] >= 20) == flat.y_test).all()
    assert np.array_equal(flat.x_test, deep.x_test)
    assert not np.array_equal(flat.x_test, other.x_test)
    assert capsys.readouterr().out.splitlines() == ["Skipped: notes.txt"] * 2


def test_a_validation_part_serves_as_the_test_part(folder: Path) -> None:
    expected = load_dataset(str(folder))
    for name in ("val", "valid"):
        part = next(path for path in (folder / "test", folder / "val") if path.exists())
        part.rename(folder / name)
        assert np.array_equal(load_dataset(str(folder)).x_test, expected.x_test)


# Which entries are classes and pictures


def test_names_are_in_natural_order() -> None:
    names = ["b", "10", "a10b", "2", "a2b", "01", "1", "é", "B"]
    assert sorted(names, key=natural_order) == ["01", "1", "2", "10", "B", "a2b", "a10b", "b", "é"]


def test_classes_that_are_numbers_are_in_the_order_of_their_values(tmp_path: Path) -> None:
    for part in ("train", "test"):
        save_images(tmp_path / part, {str(number): [number] for number in range(11)})
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == tuple(map(str, range(11)))
    assert dataset.x_train[:, 0, 0, 0].tolist() == [*range(11)]


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "@eaDir", "__MACOSX", "lost+found", ".DS_Store"])
@pytest.mark.parametrize("place", [("",), ("train",), ("train", "test"), ("train/ant",)])
def test_what_systems_leave_is_no_class(
    name: str, place: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = load_dataset(str(folder))
    for parent in place:
        write_picture(folder / parent / name / "a.png")
    found = load_dataset(str(folder))
    assert found.class_names == expected.class_names
    assert np.array_equal(found.x_train, expected.x_train)
    assert capsys.readouterr().out == f"Skipped: {name}\n"


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", "._1.png"])
def test_known_files_between_the_pictures_are_skipped(name: str, folder: Path) -> None:
    (folder / "train" / "ant" / name).write_bytes(b"not a picture")
    _, _, skipped = list_pictures(str(folder), 0)
    assert [entry.name for entry in skipped] == [name]
    assert len(load_dataset(str(folder)).x_train) == 5


def test_a_class_may_be_a_link_to_a_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "zebra").rename(tmp_path / "elsewhere")
    (folder / "train" / "zebra").symlink_to(tmp_path / "elsewhere")
    assert load_dataset(str(folder)).y_train.tolist() == [0, 0, 0, 1, 1]


def test_names_that_look_the_same_are_the_same_class(folder: Path) -> None:
    """macOS writes é as two characters, which other systems keep."""
    (folder / "train" / "zebra").rename(folder / "train" / "ze\u0301bra")
    (folder / "test" / "zebra").rename(folder / "test" / "z\u00e9bra")
    assert load_dataset(str(folder)).class_names == ("ant", "z\u00e9bra")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a class in training only": (
        lambda folder: write_picture(folder / "train" / "bee" / "1.png"),
        "the class 'bee' must be in both train and test",
    ),
    "a class in test only": (
        lambda folder: write_picture(folder / "test" / "bee" / "1.png"),
        "the class 'bee' must be in both train and test",
    ),
    "an empty class": (
        lambda folder: [path.unlink() for path in folder.glob("test/ant/*")],
        "test/ant: the class has no image",
    ),
    "a broken link": (
        lambda folder: (folder / "train" / "bee").symlink_to("nowhere"),
        "train/bee: neither a file nor a folder, perhaps a broken link",
    ),
    "a broken link to a picture": (
        lambda folder: (folder / "train" / "ant" / "9.png").symlink_to("nowhere"),
        "ant/9.png: neither a file nor a folder",
    ),
    "a pipe": (lambda folder: os.mkfifo(folder / "train" / "ant" / "9.png"), "ant/9.png: neither a file nor a folder"),
    "a folder in a class": (
        lambda folder: write_picture(folder / "train" / "ant" / "more" / "1.png"),
        "train/ant: the class has a folder, more: a class has pictures only",
    ),
    "text": (
        lambda folder: (folder / "test" / "zebra" / "9.png").write_text("text"),
        "test/zebra/9.png: not a readable image .*; use BMP, GIF, JPEG",
    ),
    "no test part": (
        lambda folder: (folder / "test").rename(folder / "Test"),
        "it contains Test/, train/; give train/<class>/. and test/<class>/., or .* a test share such as 0.2",
    ),
    "nothing": (
        lambda folder: [(folder / part).rename(folder.parent / part) for part in ("train", "test")],
        "it contains nothing; give train",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_everything_else_is_rejected_by_name(kind: str, folder: Path) -> None:
    spoil, rule = BAD[kind]
    spoil(folder)
    with pytest.raises(ValueError, match=rule) as rejected:
        load_dataset(str(folder))
    assert str(rejected.value).startswith(str(folder))
    assert "\n" not in str(rejected.value)


def test_a_test_share_besides_a_test_part_is_rejected(folder: Path) -> None:
    with pytest.raises(ValueError, match="or a folder without a test part and a test share"):
        load_dataset(str(folder), 0.2)


# What digits mean


def test_a_digit_is_a_name_if_all_names_are_numbers_and_otherwise_a_place() -> None:
    assert class_numbers((9, 4), CIFAR10_CLASSES) == (9, 4)
    assert class_numbers((9, 4), tuple(map(str, range(1, 11)))) == (8, 3)
    assert class_numbers((3, 8), tuple(map(str, range(11)))) == (3, 8)
    assert class_numbers((1, 2), ("01", "02", "10")) == (0, 1)
    assert class_numbers((0, 1), ("1", "2", "three")) == (0, 1)
    assert class_numbers((0, 1), ("1", "01", "2")) == (0, 1)  # two names for one number


@pytest.mark.parametrize("names", [tuple(map(str, range(1, 11))), ("a", "b", "c", "d"), ()])
def test_a_digit_without_a_class_is_rejected(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"there is no class [07]: the classes are"):
        class_numbers((0, 7), names)


# One picture


def corners(pixels: np.ndarray) -> list[int]:
    """The red in the middle of the quarters: top left, top right, bottom left, bottom right."""
    return [int(pixels[row, column, 0]) for row in (8, 24) for column in (8, 24)]


def saved(path: Path, image: Image.Image, **options: object) -> np.ndarray:
    """Save the image, and read it."""
    image.save(path, **options)
    pixels = read_picture(path)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
    return pixels


TURNED = {
    1: [250, 180, 90, 20],
    3: [20, 90, 180, 250],
    6: [90, 250, 20, 180],
    8: [180, 20, 250, 90],
    2: [180, 250, 20, 90],
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
def test_the_orientation_in_the_metadata_is_applied(orientation: int, kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = saved(tmp_path / f"a.{kind}", Image.fromarray(QUARTERS).convert("RGB"), exif=exif)
    assert np.abs(np.array(corners(pixels)) - TURNED[orientation]).max() <= 4


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "RGB"])
@pytest.mark.parametrize("kind", ["png", "webp", "tif", "gif"])
def test_transparent_pixels_become_white(mode: str, kind: str, tmp_path: Path) -> None:
    """A black drawing on transparency, in every mode that a format can have."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 32, 64, 64))
    options: dict[str, object] = {}
    if mode == "RGB":
        image = Image.new("RGB", (64, 64), (1, 2, 3))
        image.paste((0, 0, 0), (0, 32, 64, 64))
        options = {"transparency": (1, 2, 3)}
    elif mode == "P":
        image = image.convert("P")
        options = {"transparency": image.getpixel((5, 5))}
        image.putpalette([200] * 3 * 256)
        image.paste(7, (0, 32, 64, 64))
        palette = [200] * 768
        palette[21:24] = [0, 0, 0]
        image.putpalette(palette)
        image.paste(3, (0, 0, 64, 32))
        options = {"transparency": 3}
    elif mode != "RGBA":
        image = image.convert("LA" if mode == "LA" else "RGBA").convert(mode)
    supported = {"png": {"RGBA", "LA", "P", "RGB"}, "webp": {"RGBA"}, "tif": {"RGBA", "LA", "PA"}, "gif": {"P", "RGBA"}}
    if mode not in supported[kind]:
        pytest.skip(f"{kind} has no mode {mode}")
    pixels = saved(tmp_path / f"a.{kind}", image, **options, **({"lossless": True} if kind == "webp" else {}))
    assert pixels[:12].min() == 255
    assert pixels[20:].max() == 0


@pytest.mark.parametrize(("kind", "dtype"), [("png", "<u2"), ("tif", "<u2"), ("tif", ">u2")])
def test_16_bits_of_grey_are_scaled_to_8(kind: str, dtype: str, tmp_path: Path) -> None:
    image = Image.fromarray((QUARTERS.astype(np.uint16) * 257).astype(dtype))
    assert corners(saved(tmp_path / f"a.{kind}", image)) == [250, 180, 90, 20]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_without_a_fixed_range_are_rejected(dtype: type, tmp_path: Path) -> None:
    Image.fromarray(QUARTERS.astype(dtype)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="values of 32 bits have no fixed range"):
        read_picture(tmp_path / "a.tif")


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    for kind in ("gif", "webp", "tif"):
        options = {"lossless": True} if kind == "webp" else {}
        pixels = saved(tmp_path / f"a.{kind}", frames[0], save_all=True, append_images=frames[1:], **options)
        assert (pixels == (255, 0, 0)).all()


def test_a_photograph_of_50_megapixels_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (8712, 5813), (10, 200, 30)).save(tmp_path / "a.jpg")
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - (10, 200, 30)).max() <= 3


@pytest.mark.parametrize("size", [(9_000, 9_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_that_needs_too_much_memory_is_rejected_before_it_is_decoded(
    size: tuple[int, int], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png_bytes(*size))
    with pytest.raises((ValueError, Image.DecompressionBombError), match="pixels"):
        read_picture(tmp_path / "a.png")


def test_a_huge_file_is_rejected(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    os.truncate(tmp_path / "a.png", 1 << 36)
    with pytest.raises(ValueError, match="more than 100,000,000 bytes"):
        read_picture(tmp_path / "a.png")


def test_the_size_is_a_parameter(tmp_path: Path) -> None:
    Image.fromarray(QUARTERS).save(tmp_path / "a.png")
    pixels = read_picture(tmp_path / "a.png", 96)
    assert pixels.shape == (96, 96, 3)
    assert corners(pixels[::3, ::3]) == [250, 180, 90, 20]
