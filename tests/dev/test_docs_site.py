"""The pages of the site: no link leads nowhere. `make docs` builds it."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import docs_site

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))


class Loader(yaml.SafeLoader):
    """Reads names of Python's functions as what they are not looked up for here."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda *_: None)


def named(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        entry = list(entry.values())
    if isinstance(entry, list):
        for inner in entry:
            yield from named(inner)


def test_every_page_can_be_reached_from_the_navigation():
    site = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader=Loader)
    pages = {page.removeprefix("docs/") for page in PAGES} | set(docs_site.FROM_ROOT.values())
    assert pages >= set(named(site["nav"]))
    assert set(named(docs_site.completed(site["nav"], sorted(pages)))) == pages


def test_a_page_that_nobody_has_placed_is_among_the_others():
    placed = docs_site.completed([{"Home": "index.md"}], ["decisions/1.md", "index.md", "new.md"])
    assert placed == [{"Home": "index.md"}, {"More": ["new.md"]}, {"Decisions": ["decisions/1.md"]}]


@pytest.mark.parametrize("page", PAGES)
def test_no_link_leads_nowhere(page: str):
    docs_site.outward((ROOT / page).read_text(), page, "https://example.com")


@pytest.mark.parametrize("page", docs_site.FROM_ROOT)
def test_pages_of_the_root_keep_their_links(page: str):
    moved = docs_site.from_root((ROOT / page).read_text())
    docs_site.outward(moved, f"docs/{docs_site.FROM_ROOT[page]}", "https://example.com")


def test_the_readme_is_one_screen_whose_links_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 45
    docs_site.outward(text, "README.md", "https://example.com")
    for page, anchor in re.findall(r"\]\(([\w/.-]+\.md)#([\w-]+)\)", text):
        headings = re.findall(r"(?m)^#+ (.*)$", (ROOT / page).read_text())
        slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert anchor in slugs, f"{page}#{anchor}"


def test_a_link_to_nothing_is_found():
    with pytest.raises(docs_site.BrokenLink, match=r"docs/x\.md links to nowhere\.py"):
        docs_site.outward("[x](../nowhere.py)", "docs/x.md", "https://example.com")


def test_the_examples_are_right():
    assert doctest.testmod(docs_site).failed == 0
