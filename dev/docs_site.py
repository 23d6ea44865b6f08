"""What MkDocs is told beyond mkdocs.yml: pages from the repository's root, and links out of docs/.

The Markdown is written for readers of the repository, so links to source files are relative. On the
site they lead to the repository; a link to a file that does not exist ends the build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FROM_ROOT = {
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)((?:#[^)\s]*)?)(?=\))")


class BrokenLink(Exception):
    """A page links to a file that is not there."""


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages from the root, and to the navigation what is not in it."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - only where the site is built

    for source, page in FROM_ROOT.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=from_root(text)))
    config["nav"] = completed(config["nav"], sorted(file.src_uri for file in files))
    return files


def completed(nav: list[Any], pages: list[str]) -> list[Any]:
    """The navigation with the pages that it leaves out: decisions among themselves."""
    placed = str(nav)
    left = [page for page in pages if page.endswith(".md") and f"'{page}'" not in placed]
    decisions = [page for page in left if page.startswith("decisions/")]
    others = [page for page in left if page not in decisions]
    more = [{"More": others}] if others else []
    return [*nav, *more, *([{"Decisions": decisions}] if decisions else [])]


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Sends links that leave docs/ to the repository."""
    return outward(markdown, f"docs/{page.file.src_uri}", config["repo_url"])


def from_root(text: str) -> str:
    """A page of the root as one of docs/: what it links to is one folder further away.

    >>> from_root("[a](docs/a.md#b), [c](https://c), [b](docs/decisions)")
    '[a](a.md#b), [c](https://c), [b](decisions)'
    """
    return _LINK.sub(lambda found: _moved(found[1]) + found[2], text)


def _moved(target: str) -> str:
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return FROM_ROOT.get(target, f"../{target}")


def outward(markdown: str, source: str, repository: str) -> str:
    """The page with absolute links to what lies outside of docs/.

    Raises:
        BrokenLink: there is no such file.

    >>> outward("[a](index.md) [m](../Makefile)", "docs/x.md", "https://host/repo")
    '[a](index.md) [m](https://host/repo/blob/main/Makefile)'
    """

    def moved(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        if path in FROM_ROOT:
            up = "../" * (source.count("/") - 1)
            return f"{up}{FROM_ROOT[path]}{found[2]}"
        if path.removeprefix("docs/") in FROM_ROOT.values():
            return found[0]
        if path.startswith("docs/") and (ROOT / path).is_file():
            return found[0]
        if not (ROOT / path).exists():
            raise BrokenLink(f"{source} links to {path}, which does not exist")
        return f"{repository}/blob/main/{path}{found[2]}"

    return _LINK.sub(moved, markdown)
