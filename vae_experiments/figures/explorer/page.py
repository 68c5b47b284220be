"""The page: one file that asks for nothing from anywhere."""

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "page"
PARTS = {"style": "page.css", "decoder": "decoder.js", "script": "page.js"}


def render_page(title: str, models: Sequence[dict[str, Any]], images: Sequence[dict[str, Any]], note: str = "") -> str:
    """The explorer of one model, or of several side by side.

    Args:
        title: of the run or the sweep; any text.
        models: see `content.describe_model`; each has the position of its images in `images` under "images".
        images: see `content.describe_images`.
        note: what a reader must know beside it; any text.
    """
    content = {"title": title, "note": note, "models": models, "images": images}
    # In a script element only "<" could end it, or begin a comment; in JSON it stands in strings alone.
    filling = {name: (HERE / file).read_text(encoding="utf-8") for name, file in PARTS.items()}
    filling["title"] = html.escape(title)
    filling["content"] = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page = (HERE / "page.html").read_text(encoding="utf-8")
    # All at once, so that nothing filled in is taken for a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: filling[place[1]], page)
