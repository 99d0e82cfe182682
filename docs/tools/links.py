"""Links: those of included pages turned to the site, and those of the built site followed."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

PAGES = {  # where a file of the repository stands in the site; other files are named, not linked
    "README.md": "index.md",
    "RESULTS.md": "results/index.md",
    "LOG.md": "log.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def for_the_site(text: str, page: str) -> str:
    """A page of the repository's root with its relative links as the site has them; ``page`` lies at its root."""

    def turned(found: re.Match) -> str:
        words, target = found[1], found[2]
        path, _, anchor = target.partition("#")
        if urlsplit(target).scheme or not path:
            return found[0]
        if path.startswith("docs/") and path.endswith(".md"):
            return f"[{words}]({target.removeprefix('docs/')})"
        if path in PAGES:
            return f"[{words}]({PAGES[path]})"
        return words if words == f"`{path}`" else f"{words} (`{path}`)"

    return LINK.sub(turned, text)


class _Page(HTMLParser):
    """What a built page loads, links to, and offers as anchors."""

    def __init__(self, text: str):
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in ("img", "script", "iframe", "source", "video", "audio") and "src" in given:
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next", "alternate", "edit"):
            self.loads.append(given.get("href", ""))


def faults_of(site: Path) -> list[str]:
    """A line for each dead link of the built site, and for each thing that a page would load from a network."""
    pages = {path.resolve(): _Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are the root's, whatever address it is shown at
            continue
        where = path.relative_to(site.resolve())
        for address in page.loads:
            if urlsplit(address).scheme in ("http", "https") or address.startswith("//"):
                faults.append(f"{where} loads {address[:100]} from a network")
        for address in page.links + page.loads:
            parts = urlsplit(address)
            if parts.scheme or address.startswith("//"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                faults.append(f"{where} has a dead link: {address[:100]}")
            elif parts.fragment and target in pages and not _has(pages[target], unquote(parts.fragment)):
                faults.append(f"{where} has a link to no such anchor: {address[:100]}")
    return faults


def _has(page: _Page, anchor: str) -> bool:
    return anchor in page.anchors or anchor.startswith(("__", "only-")) or anchor == "top"
