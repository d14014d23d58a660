"""What the page of the package on PyPI is made of: the metadata as the build writes it."""

from __future__ import annotations

import re
from pathlib import Path

import hatchling.build
import pytest
from packaging.metadata import Metadata

ROOT = Path(__file__).parents[2]


@pytest.fixture
def metadata(tmp_path, monkeypatch) -> Metadata:
    monkeypatch.chdir(ROOT)
    folder = hatchling.build.prepare_metadata_for_build_wheel(str(tmp_path))
    # Also checked for what no index would take.
    return Metadata.from_email((tmp_path / folder / "METADATA").read_bytes())


def links(markdown: str) -> list[str]:
    """Where the links, images and references of a text lead, its code blocks left out."""
    text = re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"\]\(([^)\s]+)|^\[[^\]]+\]: (\S+)|(?:href|src)=\"([^\"]+)", text, re.MULTILINE)
    return ["".join(one) for one in found]


def test_every_link_of_the_long_description_is_absolute(metadata):
    found = links(metadata.description)
    assert len(found) > 20
    assert [link for link in found if not link.startswith("https://")] == []


def test_a_link_within_the_repository_leads_to_the_same_file_there(metadata):
    source = metadata.project_urls["Source"]
    there = [link.removeprefix(f"{source}/blob/main/") for link in links(metadata.description) if source in link]
    here = [link for link in links((ROOT / "README.md").read_text(encoding="utf-8")) if "://" not in link]
    assert there == here
    assert all((ROOT / path).exists() for path in there)


def test_the_description_is_otherwise_the_readme(metadata):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    without, code = re.compile(r"\]\([^)]*\)"), re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
    assert without.sub("]", metadata.description).strip() == without.sub("]", readme).strip()
    assert code.findall(metadata.description) == code.findall(readme)
    assert metadata.description_content_type.startswith("text/markdown")


def test_it_names_its_authors_its_licence_and_where_to_go(metadata):
    assert metadata.author == "The Rolecall authors"
    assert metadata.author in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert metadata.license_expression == "MIT"
    urls = metadata.project_urls
    assert list(urls) == ["Homepage", "Documentation", "Source", "Changelog", "Issues"]
    assert all(url.startswith(urls["Source"]) for url in urls.values())


def test_every_framework_with_an_adapter_is_named(metadata):
    extras = {"django", "fastapi", "flask", "starlette"}
    assert extras <= set(metadata.provides_extra)
    assert extras <= set(metadata.keywords)
    # There is no classifier for Starlette, and none for WSGI servers.
    named = {"Framework :: Django", "Framework :: FastAPI", "Framework :: Flask", "Framework :: Pytest"}
    assert named <= set(metadata.classifiers)
