"""The documentation holds together: links, anchors, YAML, and a catalogue without gaps."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/guides/*.md", "packages/*/README.md")
    for path in (*ROOT.glob(pattern), *ROOT.glob(f"examples/*/{pattern}"))
) + sorted((*ROOT.glob("changelog.d/*.md"), *ROOT.glob("benchmarks/*.md")))
#: Written by the docs' build, so that a fresh clone does not have them.
GENERATED = ("docs/catalogue/", "docs/examples/", "docs/reference/")
YAML_FILES = sorted(
    path
    for pattern in ("*.yaml", "*.yml", "*.cff", ".*.yaml")
    for folder in (ROOT, *(ROOT / n for n in ("docs", "examples", ".github", "packages")))
    for path in (folder.glob(pattern) if folder == ROOT else folder.rglob(pattern))
    if not any(part in ("_build", "_extra") for part in path.parts)
)


class _HtmlLinks(HTMLParser):
    """Links of raw HTML inside Markdown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for key, value in attrs if key in ("href", "src") and value]


@cache
def links_of(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8")):
        for child in (token, *(token.children or ())):
            if child.type in ("link_open", "image"):
                found.append(str(child.attrs.get("href") or child.attrs.get("src")))
            elif child.type in ("html_inline", "html_block"):
                found += _HtmlLinks(child.content).links
    return tuple(found)


@cache
def anchors_of(path: Path) -> frozenset[str]:
    """Headings as GitHub and MyST make them."""
    tokens = MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8"))
    headings = [
        "".join(child.content for child in tokens[index + 1].children or ())
        for index, token in enumerate(tokens)
        if token.type == "heading_open"
    ]
    return frozenset(re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings)


def internal_links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for link in links_of(page):
            if not re.match(r"[a-z]+:", link):
                yield page, link


def test_pages_are_found() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in PAGES}
    assert {"README.md", "docs/index.md", "docs/guides/gan.md", "packages/gan/README.md"} <= names
    assert {f"examples/{n}/README.md" for n in ("style-transfer", "losskit-example")} <= names
    assert {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()} == {
        path.parent.name for path in PAGES if path.is_relative_to(ROOT / "examples")
    }
    kinds = [link for _, link in internal_links()]
    assert sum(link.endswith((".svg", ".png")) for link in kinds) >= 10
    assert len(list(internal_links())) > 30


def broken(page: Path, link: str) -> str:
    """What is wrong with a link, or nothing."""
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    place = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else str(target)
    if place.startswith(GENERATED):
        return "" if page.is_relative_to(ROOT / "docs") else "exists only in the built docs"
    if not target.exists():
        return f"there is no {place}"
    if anchor and target.suffix == ".md" and anchor not in anchors_of(target):
        return f"{place} has no heading for #{anchor}: {', '.join(sorted(anchors_of(target)))}"
    return ""


def test_internal_links_lead_somewhere() -> None:
    faults = [
        f"{page.relative_to(ROOT)}: {link}: {fault}"
        for page, link in internal_links()
        if (fault := broken(page, link))
    ]
    assert faults == []


def test_a_broken_link_would_be_found(tmp_path) -> None:
    page = ROOT / "README.md"
    assert "there is no docs/nowhere.md" in broken(page, "docs/nowhere.md")
    assert "has no heading" in broken(page, "docs/concepts.md#nowhere")
    assert broken(page, "docs/concepts.md#keys-of-a-term") == ""
    (tmp_path / "a.md").write_text(
        '[x](y.md) ![i](z.svg)\n\n| t |\n|---|\n| [u](v.md) |\n\n<a href="w">'
    )
    assert links_of(tmp_path / "a.md") == ("y.md", "z.svg", "v.md", "w")


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_yaml_files_can_be_read(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8")) is not None


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The catalogue's section of each loss, as the docs' build writes it."""
    pytest.importorskip("losskit_gan")
    folder = tmp_path_factory.mktemp("docs") / "catalogue"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "_ext"))
        import catalogue as extension

        extension.write_catalogue(folder)
        for name in ("catalogue", "atlas"):
            sys.modules.pop(name, None)
    sections = {}
    for path in folder.glob("*.md"):
        if path.stem not in ("index", "atlas"):
            for text in re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
                sections[text.partition("\n")[0]] = text
    return sections


def test_catalogue_has_every_loss_and_all_of_each(catalogue) -> None:
    from losskit.discovery.registry import list_losses

    specs = [spec for spec in list_losses() if spec.namespace != "local"]
    assert {spec.name for spec in specs} <= set(catalogue)
    for spec in specs:
        text = catalogue[spec.name]
        for part in ("Arguments: ", "Inputs: ", ".. auto", "Paper: ", "```yaml", "Cost: "):
            assert part in text, (spec.name, part)
        if "image" in spec.tags:
            assert "<svg" in text, spec.name


def test_each_section_of_the_catalogue_is_closed(catalogue) -> None:
    """Reference, paper and config are each what they should be."""
    from losskit.discovery.registry import list_losses

    for spec in list_losses():
        if spec.namespace == "local":
            continue
        tokens = MarkdownIt("commonmark").enable("table").parse(f"## {catalogue[spec.name]}")
        assert [t.content for t in tokens if t.type == "code_block"] == [], spec.name
        blocks = [(t.info, t.content) for t in tokens if t.type == "fence"]
        (config,) = [content for info, content in blocks if info == "yaml"]
        assert yaml.safe_load(config)["type"].rpartition(".")[2] in (spec.name, *spec.aliases)
        (reference,) = [content for info, content in blocks if info == "{eval-rst}"]
        assert spec.target.partition(":")[2] in reference, spec.name
        assert {info for info, _ in blocks} <= {"{eval-rst}", "yaml", "{raw} html"}
        papers = [t for t in tokens if t.type == "inline" and t.content.startswith("Paper: ")]
        assert len(papers) == bool(spec.paper), spec.name
        if re.search(r"arXiv:\d|doi:10", spec.paper or ""):
            links = [child for child in papers[0].children or () if child.type == "link_open"]
            assert links, (spec.name, spec.paper)


def _is_a_networks(weights: inspect.Parameter | None) -> bool:
    """Whether an argument names a network's weights, rather than how terms are weighted."""
    return weights is not None and (weights.default is None or isinstance(weights.default, str))


@pytest.mark.parametrize("plugin", ["core", "gan", "perceptual", "clip", "identity"])
def test_configs_of_the_catalogue_build(catalogue, plugin) -> None:
    """Where the default is a published network's weights, with random ones."""
    import losskit
    from losskit.signatures import loss_signature

    for spec in losskit.list_losses(plugin=plugin):
        config = yaml.safe_load(catalogue[spec.name].partition("```yaml")[2].partition("```")[0])
        arguments = loss_signature(spec)["arguments"]
        if _is_a_networks(arguments.get("weights")):
            config["weights"] = "random"
        if "templates" in arguments:  # 80 sentences by default, which take long to encode
            config["templates"] = ["a photo of {}"]
        assert losskit.build(config).type_name == spec.name


def test_formulas_are_of_losses_that_there_are(catalogue) -> None:
    formulas = yaml.safe_load((ROOT / "docs" / "formulas.yaml").read_text(encoding="utf-8"))
    assert set(formulas) <= set(catalogue)


def test_offline_guide_names_each_file_and_each_loss_that_needs_one() -> None:
    from torchvision.models import get_model_weights

    from losskit.discovery.registry import list_losses, list_weights
    from losskit.signatures import loss_signature

    pytest.importorskip("losskit_identity")
    page = (ROOT / "docs" / "guides" / "offline.md").read_text(encoding="utf-8")
    taking = {
        spec.name
        for spec in list_losses()
        if spec.namespace != "local"
        and _is_a_networks(loss_signature(spec)["arguments"].get("weights"))
    }
    assert len(taking) >= 11
    assert {name for name in taking if f"`{name}`" not in page} == set()
    files = {
        str(get_model_weights(name)["IMAGENET1K_V1"].url).rsplit("/", 1)[-1]
        for name in ("vgg19", "vgg16", "alexnet", "squeezenet1_1")
    }
    assert set(re.findall(r"`([\w-]+\.pth)`", page)) == files
    named = set(re.findall(r"`((?:arcface|facenet|light-cnn)-[\w-]+)`", page))
    known = {spec.name for spec in list_weights()}
    assert named == known - {"facenet-casia-webface"}


def test_missing_weights_are_refused_as_the_offline_guide_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import losskit
    from losskit.errors import WeightsError

    pytest.importorskip("losskit_identity")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("LOSSKIT_CACHE", raising=False)
    monkeypatch.setattr("torch.hub.download_url_to_file", _unreachable)
    monkeypatch.setattr("losskit_clip.models._unreachable", lambda address: "no network")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: None)
    page = " ".join((ROOT / "docs" / "guides" / "offline.md").read_text().split())
    messages = re.findall(r"``(the weights .*?) ?\.\.\.``", page)
    types = ("PerceptualLoss", "FaceIdLoss", "CLIPImageLoss")
    for name, message in zip(types, messages, strict=True):
        with pytest.raises(WeightsError, match=re.escape(message)):
            losskit.build({"type": name})


def _unreachable(*_: object, **__: object) -> None:
    raise OSError("no network")


def test_atlas_figures_name_nothing_of_the_machine() -> None:
    text = (ROOT / "docs" / "atlas.json").read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w.:/])/(?:root|home|tmp|work|Users)/", text) == []


def test_atlas_figures_are_of_the_losses_that_there_are() -> None:
    """What is drawn and what is not make up what is installed; else run what the last line says."""
    from losskit.discovery.registry import list_losses

    pytest.importorskip("losskit_identity")
    figures = json.loads((ROOT / "docs" / "atlas.json").read_text(encoding="utf-8"))
    specs = [spec for spec in list_losses() if spec.namespace != "local"]
    drawn = {entry["name"] for entry in figures["losses"]}
    others = {spec.name: spec for spec in specs if spec.qualified_name not in drawn}
    judging = [name for name, spec in others.items() if "image" in spec.tags]
    told = (
        judging,
        sorted(drawn - {spec.qualified_name for spec in specs}),
        sorted(set(others) ^ set(figures["without_image_inputs"])),
        figures["left_out"],
    )
    regenerate = ".ci/atlas docs/_extra/atlas > docs/atlas.json"
    assert told == ([], [], [], {}), f"docs/atlas.json is stale; run: {regenerate}"
    assert regenerate in (ROOT / "docs" / "_ext" / "atlas.py").read_text(encoding="utf-8")


def test_a_drawn_atlas_is_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the build finds photographs, each loss has its gradients and the page its contact sheet."""
    pytest.importorskip("losskit_gan")
    drawn = tmp_path / "extra" / "atlas"
    (drawn / "gradients").mkdir(parents=True)
    (drawn / "index.html").touch()
    (drawn / "gradients" / "L1Loss-noise.png").touch()
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    for name in ("catalogue", "atlas"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import_module("catalogue").write_catalogue(tmp_path / "catalogue", drawn)
    core = (tmp_path / "catalogue" / "core.md").read_text(encoding="utf-8")
    assert 'src="../atlas/gradients/L1Loss-noise.png"' in core
    assert core.count("<img") == 1
    page = (tmp_path / "catalogue" / "atlas.md").read_text(encoding="utf-8")
    assert 'src="../atlas/contact-sheet.png"' in page
    assert 'href="../atlas/index.html"' in page


def test_an_examples_pictures_are_on_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    monkeypatch.delitem(sys.modules, "examples", raising=False)
    import_module("examples").write_examples(tmp_path)
    shown = 0
    for readme in ROOT.glob("examples/*/README.md"):
        wanted = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme.read_text())
        page = (tmp_path / f"{readme.parent.name}.md").read_text()
        for picture in wanted:
            assert f"]({readme.parent.name}/{picture})" in page
            assert (tmp_path / readme.parent.name / picture).is_file()
        shown += len(wanted)
    assert shown >= 8
