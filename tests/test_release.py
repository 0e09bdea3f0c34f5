"""A release could go out today: one version, sound metadata, a workflow that publishes without a token."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from docblocks import pages_blocks

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))


def project(root: Path, name: str) -> dict[str, Any]:
    text = (root / "packages" / name / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["project"])


def version(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci" / "version.py"), "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the version is written into."""
    for name in PACKAGES:
        (tmp_path / "packages" / name).mkdir(parents=True)
        source = ROOT / "packages" / name / "pyproject.toml"
        shutil.copy(source, tmp_path / "packages" / name)
    shutil.copy(ROOT / "CITATION.cff", tmp_path)
    return tmp_path


def test_all_packages_are_at_one_version() -> None:
    done = version(ROOT, "--check", project(ROOT, "core")["version"])
    assert done.returncode == 0, done.stdout


def test_a_tag_sets_every_version_and_pins_the_core(copy) -> None:
    names = {name: project(copy, name)["name"] for name in PACKAGES}
    assert version(copy, "--check", "7.8.9rc1").returncode == 1
    assert version(copy, "7.8.9rc1").returncode == 0
    assert version(copy, "--check", "7.8.9rc1").returncode == 0
    for name in PACKAGES:
        after, before = project(copy, name), project(ROOT, name)
        assert after["version"] == "7.8.9rc1"
        assert after["name"] == names[name]
        if name != "core":
            pinned = [need for need in after["dependencies"] if need.startswith("losskit")]
            assert pinned
            assert all(need.endswith("==7.8.9rc1") for need in pinned)
        kept = [d for d in before["dependencies"] if not d.startswith("losskit")]
        assert [d for d in after["dependencies"] if not d.startswith("losskit")] == kept
    needs = project(copy, "train")["dependencies"]
    assert {"losskit[images]==7.8.9rc1", "losskit-gan==7.8.9rc1"} <= set(needs)
    assert yaml.safe_load((copy / "CITATION.cff").read_text())["version"] == "7.8.9rc1"
    assert version(copy, "7.9.0").returncode == 0  # and again, from pinned to pinned
    assert "losskit==7.9.0" in project(copy, "gan")["dependencies"]


def test_what_is_no_version_is_refused(copy) -> None:
    done = version(copy, "v1.2")
    assert done.returncode == 2
    assert "'v1.2' is not a version such as 1.2.3" in done.stderr


def test_workflow_publishes_by_trust_and_checks_first() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert workflow[True]["push"]["tags"] == ["v*"]  # YAML 1.1 reads "on" as true
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    commands = " ".join(step.get("run", "") for step in build["steps"])
    for part in (".ci/version.py", "uv build --all-packages", "twine check --strict"):
        assert part in commands
    assert publish["needs"] == ["build", "tests", "installs"]
    assert workflow["jobs"]["tests"]["steps"][-1]["run"] == "bash .ci/run"
    installs = workflow["jobs"]["installs"]
    assert installs["needs"] == "build"
    download, install = installs["steps"][-2:]  # what is tried is what publish uploads
    assert download == publish["steps"][0]
    assert install["run"].startswith("bash .ci/installs --wheels dist ")
    pythons = installs["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["steps"][-1]["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert "password" not in str(workflow)
    announce = workflow["jobs"]["announce"]
    assert announce["needs"] == "publish"
    assert ".ci/notes.py" in commands
    assert "--notes-file notes.md" in announce["steps"][-1]["run"]


def test_docs_are_published_with_the_whole_atlas() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "docs.yml").read_text())
    commands = " ".join(step.get("run", "") for step in workflow["jobs"]["build"]["steps"])
    assert ".ci/atlas docs/_extra/atlas > " in commands
    assert 'losskit atlas --true-weights --json --out "$1"' in (ROOT / ".ci" / "atlas").read_text()
    assert "sphinx-build -W" in commands
    assert workflow["jobs"]["deploy"]["needs"] == "build"
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "towncrier build --draft" in run
    assert "html/atlas/index.html" in run


def test_lowest_versions_are_asked_for_by_name() -> None:
    """Given wheels alone, `lowest-direct` lowers nothing: what they require is not direct."""
    installs = (ROOT / ".ci" / "installs").read_text(encoding="utf-8")
    (lowest,) = re.findall(r"^try \"lowest versions\".*$", installs, re.M)
    assert '--resolution lowest-direct -r "$work/lowest.txt"' in lowest
    assert "check core gan perceptual clip identity" in installs.partition(lowest)[2]


def test_citation_has_what_the_format_requires() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)


def test_issue_forms_are_complete() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) >= 2
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert form["name"], path
        assert form["description"], path
        for field in form["body"]:
            assert field["type"] in ("textarea", "input", "markdown", "dropdown", "checkboxes")
            assert field["attributes"]["label"], path


def test_hooks_run_what_ci_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = " ".join(hook["entry"] for repo in config["repos"] for hook in repo["hooks"])
    for tool in ("ruff check", "ruff format", "mypy"):
        assert tool in hooks
        assert tool in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What git has of this repository, with the files of today, in a repository of its own."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("a release starts from a git repository")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    folder = tmp_path / "clone"
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for command in ("init --quiet --initial-branch main", "add .", "commit --quiet -m start"):
        git(folder, *command.split())
    return folder


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def documented(page: str) -> list[str]:
    """The commands of the blocks of a page that name this test."""
    blocks = [b for b in pages_blocks(ROOT / "docs" / page) if "by" in b.notes]
    return [line for block in blocks for line in block.source.splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="building needs uv")
def test_a_release_as_documented(clone) -> None:
    """From fragments to a tag and ``dist/``: each command of the page, the push left out."""
    pytest.importorskip("towncrier")
    printed = {}
    for line in documented("releasing.md"):
        program, *words = shlex.split(line.removeprefix("uv run "))
        if program == "git":
            if words[0] != "push":
                git(clone, *words)
            continue
        if program == "twine":  # our shell does not expand here
            words = [
                w for word in words for w in (map(str, clone.glob(word)) if "*" in word else [word])
            ]
        start = {"python": [], "uv": ["uv"]}.get(program, ["-m", program])
        command = start if start[:1] == ["uv"] else [sys.executable, *start]
        done = subprocess.run(
            [*command, *words], cwd=clone, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        printed[line] = done.stdout
    assert [p.name for p in (clone / "changelog.d").iterdir()] == ["README.md"]
    assert "\n## 1.2.3 (20" in (clone / "CHANGELOG.md").read_text(encoding="utf-8")
    assert len(list((clone / "dist").glob("*-1.2.3*"))) == 2 * len(PACKAGES)
    notes = printed["uv run python .ci/notes.py 1.2.3"]
    assert notes.startswith("### Added\n\n- ")
    assert "losskit atlas" in notes


def notes(root: Path, version: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, str(ROOT / ".ci" / "notes.py"), "--root", str(root), version]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_notes_of_a_version(tmp_path) -> None:
    pytest.importorskip("towncrier")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    waiting = tmp_path / "changelog.d"
    waiting.mkdir()
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.1.0 (2020-01-01)\n\n- Old.\n")
    assert notes(tmp_path, "1.1.0").stdout == "- Old.\n"
    missing = notes(tmp_path, "1.2.0")
    assert (missing.returncode, missing.stderr) == (1, "CHANGELOG.md has no section for 1.2.0\n")
    (waiting / "new.added.md").write_text("New thing.\n")
    assert "- New thing." in notes(tmp_path, "1.2.0rc1").stdout
    left = notes(tmp_path, "1.1.0")
    assert left.returncode == 1
    assert "new.added.md: not in the changelog yet" in left.stderr


def test_fragments_are_sound_and_read_well() -> None:
    """Towncrier writes the bullet; one of the fragment's own would be a second."""
    kinds = ("added", "changed", "deprecated", "removed", "fixed", "security")
    for path in (ROOT / "changelog.d").glob("*.md"):
        if path.name != "README.md":
            assert path.name.split(".")[-2] in kinds, path
            assert not path.read_text(encoding="utf-8").startswith(("-", "*", "#")), path


@pytest.mark.skipif(shutil.which("uv") is None, reason="building needs uv")
def test_source_distribution_is_whole_and_sound(tmp_path) -> None:
    pytest.importorskip("twine")
    command = [
        "uv",
        "build",
        "--quiet",
        "--sdist",
        "--out-dir",
        tmp_path,
        ROOT / "packages" / "core",
    ]
    subprocess.run([str(part) for part in command], check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = [Path(*Path(name).parts[1:]).as_posix() for name in tar.getnames()]
    assert {"pyproject.toml", "README.md", "LICENSE", "src/losskit/py.typed"} <= set(names)
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", str(archive)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
