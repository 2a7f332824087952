"""The pages: what they link to is there."""

import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pages():
    told = subprocess.run(["git", "ls-files", "*.md"], stdout=subprocess.PIPE, cwd=ROOT, check=True, text=True).stdout
    return [ROOT / name for name in told.splitlines()]


def anchor_of(heading):
    """As GitHub makes it: lower case, spaces become hyphens, other punctuation goes."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page):
    return {anchor_of(heading) for heading in re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)}


class Pages(unittest.TestCase):
    def test_what_is_linked_is_there(self):
        links = 0
        for page in pages():
            text = re.sub(r"^    .*$|`[^`]*`", "", page.read_text(), flags=re.MULTILINE)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if "://" in target:
                    continue
                links += 1
                path, _, anchor = target.partition("#")
                to = (page.parent / path).resolve() if path else page
                with self.subTest(page=str(page.relative_to(ROOT)), link=target):
                    self.assertTrue(to.exists(), f"{target} is not there")
                    if anchor and to.suffix == ".md":
                        self.assertIn(anchor, anchors(to))
        self.assertGreaterEqual(links, 50)
