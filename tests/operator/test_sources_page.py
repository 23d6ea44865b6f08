"""docs/sources.md says what is so: its examples are the files that people apply."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sources.md").read_text()
EXAMPLES = {
    path.name: path.read_text() for path in (ROOT / "examples").glob("*.yaml") if path.name in PAGE
}


def test_every_yaml_on_the_page_is_an_example_word_for_word():
    shown = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert sorted(shown) == sorted(EXAMPLES.values())


def test_every_example_says_how_it_is_applied():
    for name, text in EXAMPLES.items():
        assert text.splitlines()[0].endswith(f"kubectl apply -f examples/{name}")
