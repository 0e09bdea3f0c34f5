"""Reading, writing and pairing images, against Pillow itself."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from deep_png import write_deep_png
from PIL import Image

from losskit.errors import LosskitError
from losskit.images.files import paired_files
from losskit.images.pixels import as_picture, read_image, write_image


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_read_gives_rgb_planes(tmp_path: Path, pixels: np.ndarray) -> None:
    image = read_image(save(tmp_path / "a.png", pixels))
    assert image.shape == (1, 3, 12, 20)
    assert image.is_contiguous()
    np.testing.assert_array_equal(image[0, 2].numpy(), pixels[..., 2].astype(np.float32) / 255)


def test_write_is_the_inverse_of_read(tmp_path: Path, pixels: np.ndarray) -> None:
    image = read_image(save(tmp_path / "a.png", pixels))
    write_image(image, tmp_path / "deep" / "b.png")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "deep" / "b.png")), pixels)
    assert as_picture(torch.full((3, 2, 2), 2.0)).getpixel((0, 0)) == (255, 255, 255)


def test_float_images_keep_their_values(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 5, dtype=np.float32)[None]
    Image.fromarray(ramp).save(tmp_path / "ramp.tiff")
    assert read_image(tmp_path / "ramp.tiff")[0, 1, 0].tolist() == ramp[0].tolist()
    Image.fromarray(ramp * 255).save(tmp_path / "bytes.tiff")
    with pytest.raises(LosskitError, match=r"its values run from 0 to 255, not 0 to 1"):
        read_image(tmp_path / "bytes.tiff")
    Image.fromarray((ramp * 2e9).astype(np.int32)).save(tmp_path / "wide.tiff")
    with pytest.raises(LosskitError, match="it holds 32-bit or signed integers"):
        read_image(tmp_path / "wide.tiff")


def test_grey_on_white_and_sixteen_bits(tmp_path: Path, pixels: np.ndarray) -> None:
    grey = read_image(save(tmp_path / "grey.png", pixels[..., 0]))
    assert torch.equal(grey[0, 0], grey[0, 1])
    alpha = np.random.default_rng(1).integers(0, 256, (12, 20, 1), dtype=np.uint8)
    shown = read_image(save(tmp_path / "rgba.png", np.dstack([pixels, alpha])))
    wanted = pixels / 255 * (alpha / 255) + 1 - alpha / 255
    np.testing.assert_allclose(shown[0].permute(1, 2, 0).numpy(), wanted, atol=0.501 / 255)
    deep = np.array([[0, 1, 300, 65535]], np.uint16)
    values = read_image(save(tmp_path / "deep.png", deep))[0, 1, 0]
    np.testing.assert_allclose(values.numpy(), deep[0] / 65535, rtol=1e-6)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", ["png", "tiff-little", "tiff-big", "tiff-deflate"])
def test_colours_keep_sixteen_bits(tmp_path: Path, kind: str, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (7, 5, channels), dtype=np.uint16)
    path = tmp_path / f"deep.{kind[:4].rstrip('-')}"
    if kind == "png":
        write_deep_png(path, values)
    else:
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(
            path,
            values,
            photometric="rgb",
            extrasamples=["unassalpha"] * (channels - 3),
            byteorder=">" if kind == "tiff-big" else "<",
            compression="deflate" if kind == "tiff-deflate" else None,
        )
    image = read_image(path)[0].permute(1, 2, 0).numpy()
    alpha = values[..., 3:] / 65535 if channels == 4 else 1.0
    np.testing.assert_allclose(
        image, values[..., :3] / 65535 * alpha + 1 - alpha, rtol=0, atol=2e-7
    )
    assert read_image(path, size=(4, 4)).shape == (1, 3, 4, 4)


def test_deep_colours_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    grey = write_deep_png(tmp_path / "la.png", np.zeros((2, 2, 2), np.uint16))
    (tmp_path / "a.ppm").write_bytes(b"P6 1 1 65535\n" + bytes(6))
    for path in (grey, tmp_path / "a.ppm"):
        with pytest.raises(LosskitError, match="16 bits in a way that cannot be read"):
            read_image(path)
    (tmp_path / "b.ppm").write_bytes(b"P6 1 1 255\n" + bytes([51, 102, 255]))
    assert read_image(tmp_path / "b.ppm").flatten().tolist() == pytest.approx([0.2, 0.4, 1])


def write_tiff(path: Path, data: bytes, *, bits: int, black: int) -> Path:
    """A grey TIFF of four rows, which Pillow reads and cannot write: 12 bits, or with 0 as white."""
    width = len(data) * 8 // bits // 4
    tags = {
        256: width,
        257: 4,
        258: bits,
        259: 1,
        262: black,
        273: 8,
        277: 1,
        278: 4,
        279: len(data),
    }
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    path.write_bytes(head + data + struct.pack("<H", len(tags)) + directory + bytes(4))
    return path


def test_twelve_bits_and_white_at_zero(tmp_path: Path) -> None:
    ramp = read_image(write_tiff(tmp_path / "a.tif", b"\x00\x0f\xff" * 16, bits=12, black=1))
    assert ramp.shape == (1, 3, 4, 8)
    assert ramp[0, 0, 0, :4].tolist() == [0.0, 1.0, 0.0, 1.0]
    path = write_tiff(tmp_path / "b.tif", bytes(64), bits=16, black=0)
    with pytest.raises(LosskitError, match="its zero is white, with more than 8 bits") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    eight = write_tiff(tmp_path / "c.tif", bytes(32), bits=8, black=0)
    assert (read_image(eight) == 1).all()  # which Pillow turns round itself


def test_exif_turns_the_picture(tmp_path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    path = save(tmp_path / "upright.png", pixels, exif=exif)
    assert read_image(path).shape == (1, 3, 20, 12)


def test_sizes(tmp_path: Path, pixels: np.ndarray) -> None:
    path = save(tmp_path / "a.png", pixels)
    assert read_image(path, size=6).shape == (1, 3, 6, 10)
    assert read_image(path, size=(8, 8)).shape == (1, 3, 8, 8)


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(LosskitError, match="there is no file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(LosskitError, match=r"cannot read .*bad\.png as an image"):
        read_image(tmp_path / "bad.png")
    with pytest.raises(LosskitError, match="cannot write"):
        write_image(torch.zeros(3, 2, 2), tmp_path / "a.nonsense")


def test_pairs_ignore_suffixes_and_case(tmp_path: Path, pixels: np.ndarray) -> None:
    save(tmp_path / "p" / "sub" / "a.png", pixels)
    save(tmp_path / "p" / "b.PNG", pixels)
    save(tmp_path / "t" / "sub" / "a.jpg", pixels)
    save(tmp_path / "t" / "b.png", pixels)
    (tmp_path / "t" / "notes.txt").write_text("no image")
    names = [name for name, _, _ in paired_files(tmp_path / "p", tmp_path / "t")]
    assert names == ["b", "sub/a"]


def test_hidden_names_are_no_images(tmp_path: Path, pixels: np.ndarray) -> None:
    for side in ("p", "t"):
        save(tmp_path / side / "a.png", pixels)
        save(tmp_path / side / ".ipynb_checkpoints" / "a-checkpoint.png", pixels)
    (tmp_path / "p" / "._a.png").write_bytes(b"metadata")
    assert [name for name, _, _ in paired_files(tmp_path / "p", tmp_path / "t")] == ["a"]
    hidden = tmp_path / ".cache"  # a folder that is named is not searched for
    save(hidden / "a.png", pixels)
    assert len(paired_files(hidden, tmp_path / "t")) == 1


def test_names_of_benchmarks_make_pairs(tmp_path: Path, pixels: np.ndarray) -> None:
    save(tmp_path / "p" / "0001x4.png", pixels)
    save(tmp_path / "t" / "0001.png", pixels)
    ((name, _, _),) = paired_files(tmp_path / "p", tmp_path / "t", pred_suffix="x4")
    assert name == "0001"
    save(tmp_path / "p" / "0002.png", pixels)
    with pytest.raises(LosskitError, match=r"0002\.png does not end in 'x4'"):
        paired_files(tmp_path / "p", tmp_path / "t", pred_suffix="x4")


def test_pairs_that_do_not_fit(tmp_path: Path, pixels: np.ndarray) -> None:
    one = save(tmp_path / "p" / "a.png", pixels)
    (tmp_path / "t").mkdir()
    with pytest.raises(LosskitError, match="there is no image in"):
        paired_files(tmp_path / "p", tmp_path / "t")
    with pytest.raises(LosskitError, match="two files or two folders"):
        paired_files(one, tmp_path / "t")
    with pytest.raises(LosskitError, match="there is no file or folder"):
        paired_files(one, tmp_path / "nowhere")
    save(tmp_path / "t" / "b.png", pixels)
    with pytest.raises(LosskitError, match=r"'a' has no partner in .*t \(and 1 more\)"):
        paired_files(tmp_path / "p", tmp_path / "t")
    save(tmp_path / "p" / "a.jpg", pixels)
    with pytest.raises(LosskitError, match="differ only in their suffix"):
        paired_files(tmp_path / "p", tmp_path / "t")
