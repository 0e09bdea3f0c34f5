"""What batches hold, where they come from, and what bad images do."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from deep_png import write_deep_png
from PIL import Image

from losskit.errors import ConfigError
from losskit.images.pixels import read_image
from losskit_train.config.sections import DataConfig
from losskit_train.data import photos, sources
from losskit_train.data.masks import free_form_mask
from losskit_train.data.samples import Samples, batches, shrink
from losskit_train.data.sources import DataError, open_source


@pytest.fixture
def images(tmp_path):
    """Five images whose red value is their number."""
    for index in range(5):
        pixels = np.random.default_rng(index).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        pixels[..., 0] = index
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    return tmp_path


def config(images, **changes):
    defaults = {"images": str(images), "size": 8, "batch_size": 2, "value_range": (0.0, 1.0)}
    return DataConfig(**{**defaults, **changes})


def take(images, count, start=0, rank=0, world_size=1, **changes):
    data = config(images, **changes)
    stream = batches(open_source(data), data, seed=3, start=start, rank=rank, world_size=world_size)
    return list(islice(stream, count))


def numbers(batch):
    return (batch["real_imgs"][:, 0].amax((1, 2)) * 255).round().int().tolist()


def test_each_epoch_shows_every_image_once_in_an_order_of_its_own(images):
    shown = [n for batch in take(images, 10) for n in numbers(batch)]
    epochs = [shown[begin : begin + 5] for begin in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_later_start_continues_the_same_stream(images, workers):
    whole = take(images, 5, flip=True, rotate=True)
    later = take(images, 3, start=2, flip=True, rotate=True, workers=workers)
    for one, other in zip(whole[2:], later, strict=True):
        for key in one:
            assert torch.equal(one[key], other[key])


def test_ranks_share_out_what_one_process_would_see(images):
    alone = take(images, 2, batch_size=4)
    parts = [take(images, 2, rank=rank, world_size=2) for rank in (0, 1)]
    for step in range(2):
        joint = torch.cat([parts[rank][step]["real_imgs"] for rank in (0, 1)])
        assert torch.equal(joint, alone[step]["real_imgs"])


def test_the_global_random_state_is_left_alone(images):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    take(images, 3, task="inpainting")
    assert torch.equal(torch.get_rng_state(), before)


def test_super_resolution_shrinks_as_pillow_does(images):
    batch = take(images, 1, task="super-resolution", scale=2)[0]
    assert batch["lq"].shape == (2, 3, 4, 4)
    assert torch.equal(batch["target"], batch["real_imgs"])
    real = (batch["real_imgs"][0] * 255).round().byte().permute(1, 2, 0).numpy()
    pillow = np.asarray(Image.fromarray(real).resize((4, 4), Image.Resampling.BICUBIC))
    ours = (batch["lq"][0] * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(ours - pillow.astype(float)).max() <= 1  # rounding between its two passes


def test_shrinking_a_constant_keeps_it():
    assert torch.equal(shrink(torch.full((1, 3, 8, 8), 0.2), 2), torch.full((1, 3, 4, 4), 0.2))


def test_inpainting_hides_what_is_under_the_mask(images):
    batch = take(images, 1, task="inpainting", value_range=(-1.0, 1.0))[0]
    mask = batch["mask"]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(batch["lq"] * (1 - mask), batch["real_imgs"] * (1 - mask))
    assert (batch["lq"] * mask).abs().max() == 0


@pytest.mark.parametrize("share", [(0.1, 0.2), (0.5, 0.6)])
def test_masks_cover_the_share_asked_for(share):
    random = np.random.default_rng(0)
    covered = [float(free_form_mask(64, 48, share=share, random=random).mean()) for _ in range(20)]
    assert min(covered) >= share[0]
    assert max(covered) < share[1] + 0.12  # at most one stroke more
    with pytest.raises(ValueError, match="share must be"):
        free_form_mask(8, 8, share=(0.0, 0.5), random=random)


def test_pairs_are_cut_alike(tmp_path):
    (tmp_path / "low").mkdir()
    (tmp_path / "high").mkdir()
    small = np.arange(12 * 12 * 3, dtype=np.uint32).reshape(12, 12, 3).astype(np.uint8)
    Image.fromarray(small).save(tmp_path / "low" / "a.png")
    large = small.repeat(2, 0).repeat(2, 1)
    Image.fromarray(large).save(tmp_path / "high" / "a.png")
    batch = take(
        tmp_path / "high", 1, task="paired", inputs=str(tmp_path / "low"), size=8, rotate=True
    )[0]
    assert batch["lq"].shape == (2, 3, 4, 4)
    enlarged = batch["lq"].repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.equal(enlarged, batch["real_imgs"])


def test_resizing_shows_the_shorter_side_whole(tmp_path):
    Image.new("RGB", (40, 20), "white").save(tmp_path / "a.png")
    batch = take(tmp_path, 1, fit="resize", batch_size=1)[0]
    assert batch["real_imgs"].shape == (1, 3, 8, 8)
    assert batch["real_imgs"].min() == 1


def test_grey_arrays_and_the_faces(tmp_path):
    np.save(tmp_path / "a.npy", np.linspace(0, 1, 2 * 8 * 8).reshape(2, 8, 8))
    batch = take(tmp_path / "a.npy", 1, channels=1)[0]
    assert batch["real_imgs"].shape == (2, 1, 8, 8)
    assert take(tmp_path / "a.npy", 1, channels=3)[0]["real_imgs"].shape == (2, 3, 8, 8)
    pytest.importorskip("skimage")
    faces = open_source(DataConfig("builtin:faces", channels=1, size=25))
    assert len(faces) == 100
    assert faces[0][0].shape == (1, 25, 25)


def test_the_held_out_photo_is_held_out():
    pytest.importorskip("skimage")
    rest = photos.photos("rocket.jpg")
    assert len(rest) == len(photos.PHOTOS) - 1
    rocket = photos.photo("rocket.jpg")
    assert not any(other.shape == rocket.shape and (other == rocket).all() for other in rest)
    with pytest.raises(ConfigError, match=r"did you mean 'rocket.jpg'"):
        photos.photos("rocket.png")


def _text(folder):
    (folder / "bad.png").write_text("no image")


def _cut(folder):
    content = (folder / "0.png").read_bytes()
    (folder / "bad.png").write_bytes(content[: len(content) // 2])


def _small(folder):
    Image.new("RGB", (7, 30)).save(folder / "bad.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(_text, "cannot read"), (_cut, "cannot read"), (_small, "is 7x30, smaller than data.size 8")],
)
def test_a_bad_image_is_named_or_skipped_and_counted(images, spoil, message):
    spoil(images)
    with pytest.raises(DataError, match=rf"{message}.*data.skip_bad: true"):
        take(images, 3, fit="crop")
    data = config(images, fit="crop", skip_bad=True)
    source = open_source(data)
    shown = list(islice(batches(source, data, seed=0, start=0), 6))
    found = {int(index) for batch in shown for index in batch["skipped"]}
    assert len(source.skipped) + len(found) == 1  # once, however often it came up
    assert all(n < 5 for batch in shown for n in numbers(batch))


def _mostly_cut(folder):
    """Thirty images whose second half is missing, and six whole ones, numbered 100 to 105."""
    folder.mkdir(exist_ok=True)
    for index in range(36):
        pixels = np.random.default_rng(index).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        pixels[..., 0] = 70 + index
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    for index in range(30):
        content = (folder / f"{index:02}.png").read_bytes()
        (folder / f"{index:02}.png").write_bytes(content[: len(content) // 2])
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_any_number_of_bad_images_in_a_row_is_skipped(tmp_path, workers):
    shown = take(_mostly_cut(tmp_path / "cut"), 18, fit="crop", skip_bad=True, workers=workers)
    assert set().union(*map(numbers, shown)) == set(range(100, 106))
    assert set().union(*(batch["skipped"].tolist() for batch in shown)) == set(range(30))


def test_what_a_process_remembers_changes_no_batch(tmp_path, same):
    folder = _mostly_cut(tmp_path / "cut")
    options = {"fit": "crop", "skip_bad": True, "flip": True, "rotate": True}
    remembering = take(folder, 36, **options)
    for step in (1, 17, 35):
        same(take(folder, 1, start=step, **options)[0], remembering[step])


def test_a_bad_image_is_decoded_once(tmp_path, monkeypatch):
    decoded = Counter()
    real = sources.decode

    def counting(path, channels):
        decoded[path.name] += 1
        return real(path, channels)

    monkeypatch.setattr(sources, "decode", counting)
    take(_mostly_cut(tmp_path / "cut"), 54, fit="crop", skip_bad=True)
    assert set(decoded.values()) == {1}
    assert len(decoded) == 36


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_which_none_is_usable_are_one_error(tmp_path, workers):
    folder = _mostly_cut(tmp_path / "cut")
    for index in range(30, 36):
        (folder / f"{index}.png").unlink()
    with pytest.raises(DataError, match=r"^not one of the 30 images can be used; .*png$"):
        take(folder, 1, fit="crop", skip_bad=True, workers=workers)


def test_a_bad_image_in_a_loading_process_is_one_line(images):
    _cut(images)
    with pytest.raises(DataError, match=r"^cannot read .*bad.png .*data.skip_bad: true") as caught:
        take(images, 6, fit="crop", workers=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_shown_on_white(tmp_path, form):
    hidden = np.zeros((8, 8, 4), dtype=np.uint8)  # black, and not to be seen
    hidden[:, 4:] = (90, 90, 90, 255)
    hidden[0, 0] = (0, 0, 0, 128)
    image = Image.fromarray(hidden)
    if form == "P":
        image = image.convert("P")
        image.putpalette([0, 0, 0, 90, 90, 90])
        image.putdata([0] * 64)
        image.info["transparency"] = 0
        image.save(tmp_path / "a.png", transparency=0)
        assert (open_source(config(tmp_path))[0][0] == 255).all()
        return
    image.convert(form).save(tmp_path / "a.png")
    shown = open_source(config(tmp_path))[0][0]
    assert (shown[:, 1:, :4] == 255).all()
    assert (shown[:, :, 4:] == 90).all()
    assert (shown[:, 0, 0] == 127).all()  # half black
    if form == "RGBA":
        np.save(tmp_path / "b.npy", hidden[None])
        assert torch.equal(open_source(config(tmp_path / "b.npy"))[0][0], shown)


_RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("float.tif", _RAMP.astype(np.float32)),
        ("16.tif", np.round(_RAMP * 65535).astype(np.uint16)),
        ("16.png", np.round(_RAMP * 65535).astype(np.uint16)),
        ("16.pgm", np.round(_RAMP * 65535).astype(np.uint16)),  # which Pillow opens as mode "I"
    ],
)
def test_more_than_eight_bits_are_scaled_not_clipped(tmp_path, name, pixels):
    Image.fromarray(pixels).save(tmp_path / name)
    for channels in (1, 3):
        shown = sources.decode(tmp_path / name, channels)
        assert shown.shape == (channels, 8, 8)
        assert np.abs(shown.numpy() - _RAMP * 255).max() <= 0.501


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_16_bits_are_rounded_and_shown_on_white(tmp_path, channels):
    deep = np.random.default_rng(0).integers(0, 2**16, (6, 5, channels), dtype=np.uint16)
    path = write_deep_png(tmp_path / "deep.png", deep)
    shown = sources.decode(path, 3).permute(1, 2, 0).numpy()
    values = deep / 65535
    alpha = values[..., 3:] if channels == 4 else 1.0
    expected = 255 * (values[..., :3] * alpha + 1 - alpha)
    # Two roundings, of colours and of what lies on white; cut off, it would be up to 1 too low.
    assert np.abs(shown - expected).max() < (0.501 if channels == 3 else 1.51)
    assert abs((shown - expected).mean()) < 0.1
    grey_and_alpha = write_deep_png(tmp_path / "la.png", deep[..., :2])
    assert sources.decode(grey_and_alpha, 3).shape == (3, 6, 5)


def test_a_transparent_value_of_16_bits_is_shown_on_white(tmp_path):
    grey = Image.fromarray(np.array([[0, 1, 32768, 65535]], dtype=np.uint16))
    grey.save(tmp_path / "a.png", transparency=1)
    assert sources.decode(tmp_path / "a.png", 1).tolist() == [[[0, 255, 128, 255]]]


def test_16_bits_that_an_older_pillow_opens_as_mode_i(tmp_path, monkeypatch):
    pixels = np.round(_RAMP * 65535).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    opened = Image.fromarray(pixels.astype(np.int32))
    assert opened.mode == "I"
    opened.format = "PNG"
    monkeypatch.setattr(Image, "open", lambda path: opened)
    assert np.abs(sources.decode(tmp_path / "a.png", 1)[0].numpy() - _RAMP * 255).max() <= 0.501


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ((_RAMP * 65535).astype(np.int32), "as an image: it holds 32-bit or signed integers"),
        ((_RAMP * 255).astype(np.float32), "as an image: its values run from 0 to 255, not 0 to 1"),
        (np.full((8, 8), np.nan, dtype=np.float32), "as an image: its values run from nan to nan"),
    ],
)
def test_an_image_whose_white_is_not_known_is_named_or_skipped(images, pixels, message):
    Image.fromarray(pixels).save(images / "a.tif")
    with pytest.raises(DataError, match=rf"a\.tif {message}.*data.skip_bad: true") as caught:
        take(images, 3, fit="crop")
    assert "\n" not in str(caught.value)
    data = config(images, fit="crop", skip_bad=True)
    source = open_source(data)
    shown = list(islice(batches(source, data, seed=0, start=0), 6))
    found = {int(index) for batch in shown for index in batch["skipped"]}
    assert len(source.skipped) + len(found) == 1
    assert set().union(*map(numbers, shown)) == {0, 1, 2, 3, 4}


def test_a_pair_without_its_partner_is_named_or_skipped_and_counted(tmp_path):
    for folder, names in (("low", "abc"), ("high", "bcd")):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("RGB", (12, 12)).save(tmp_path / folder / f"{name}.png")
    paired = {"task": "paired", "inputs": str(tmp_path / "low")}
    with pytest.raises(ConfigError, match=r"'a' has no partner .*data.skip_bad: true"):
        open_source(config(tmp_path / "high", **paired))
    source = open_source(config(tmp_path / "high", **paired, skip_bad=True))
    assert [Path(name).stem for name in source.names] == ["b", "c"]
    assert len(source.skipped) == 2
    for name in "bc":
        (tmp_path / "low" / f"{name}.png").unlink()
    with pytest.raises(DataError, match="not one of the 4 images"):
        open_source(config(tmp_path / "high", **paired, skip_bad=True))


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(ConfigError, match="no image in"):
        open_source(config(tmp_path))
    with pytest.raises(ConfigError, match="there is no folder"):
        open_source(config(tmp_path / "x"))
    _text(tmp_path)
    with pytest.raises(DataError, match="not one of the 1 images"):
        open_source(config(tmp_path, skip_bad=True))
    (tmp_path / "a.npy").write_bytes(b"x")
    with pytest.raises(ConfigError, match="cannot read"):
        open_source(config(tmp_path / "a.npy"))
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(ConfigError, match=r"has shape \(3,\)"):
        open_source(config(tmp_path / "b.npy"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((1, 8, 8), 2.0), r"floats outside \[0, 1\]"),
        (np.zeros((1, 8, 8), dtype=np.int64), "holds int64"),
        (np.zeros((1, 8, 8, 5), dtype=np.uint8), "has 5 channels"),
    ],
)
def test_an_array_that_is_no_image(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        take(tmp_path / "a.npy", 1)


def test_pairs_that_do_not_fit(tmp_path):
    for folder, size in (("low", 5), ("high", 12)):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (size, size)).save(tmp_path / folder / "a.png")
    data = config(tmp_path / "high", task="paired", inputs=str(tmp_path / "low"))
    with pytest.raises(DataError, match="must be a whole multiple of its input"):
        Samples(open_source(data), data, seed=0)[0]
    (tmp_path / "low" / "b.png").write_bytes((tmp_path / "low" / "a.png").read_bytes())
    with pytest.raises(ConfigError, match="has no partner"):
        open_source(data)


def test_a_provider_outside_losskit_needs_leave():
    with pytest.raises(ConfigError, match=r"data.images: .* is code that the config names"):
        open_source(DataConfig("builtins:list"))
    with pytest.raises(ConfigError, match=r"data\.options of"):
        open_source(DataConfig("builtin:faces", options={"n": 1}))
    assert not Path("builtins:list").exists()


@pytest.mark.parametrize("name", [".DS_Store", "._0.png", ".ipynb_checkpoints/0-checkpoint.png"])
def test_names_that_begin_with_a_dot_are_no_data(images, name):
    hidden = images / name
    hidden.parent.mkdir(exist_ok=True)
    hidden.write_bytes(b"no image at all")
    (images / "notes.txt").write_text("a file among the images")
    source = open_source(config(images))
    assert [Path(found).name for found in source.names] == [f"{i}.png" for i in range(5)]
    assert source.others == 1


def test_hidden_names_have_no_partners_to_miss(images, tmp_path):
    (images / "._0.png").write_bytes(b"no image at all")
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for index in range(5):
        Image.open(images / f"{index}.png").save(inputs / f"{index}.png")
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for path in images.glob("[0-9].png"):
        Image.open(path).save(pairs / path.name)
    (inputs / ".DS_Store").write_bytes(b"")
    (inputs / "extra.png").write_bytes((pairs / "0.png").read_bytes())
    source = open_source(config(pairs, task="paired", inputs=str(inputs), skip_bad=True))
    assert len(source) == 5
    assert source.skipped == (str(inputs / "extra.png"),)


@pytest.mark.parametrize("form", ["RGBA", "LA", "P", "L", "RGB"])
def test_eval_and_training_see_the_same_picture(tmp_path, form):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    options = {"transparency": 3} if form == "P" else {}
    Image.fromarray(pixels).convert(form).save(tmp_path / "a.png", **options)
    seen = sources.decode(tmp_path / "a.png", 3).numpy()
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0].numpy(), seen / np.float32(255))
