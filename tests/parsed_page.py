"""Parse a page that asl writes."""

from __future__ import annotations

import json
from html.parser import HTMLParser


class Page(HTMLParser):
    """The elements of a page, its text, and the data of its tables."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.pieces, self.inside, self.script = [], [], "", {}
        self.feed(html)
        self.text = " ".join(" ".join(self.pieces).split())
        self.data = json.loads(self.script["data"])

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.key = dict(attributes).get("id", "code")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.script[self.key] = self.script.get(self.key, "") + data
        elif not self.inside:
            self.pieces.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]
