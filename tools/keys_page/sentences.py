"""Texts about the same key, put together."""

import re


def sentences(texts: list[str]) -> str:
    """Texts one after another; of two that say much the same, the longer."""
    kept: list[str] = []
    for text in (text.rstrip(".") for text in texts if text):
        same = next((i for i, other in enumerate(kept) if _overlap(text, other)), None)
        if same is None:
            kept.append(text)
        else:
            kept[same] = max(kept[same], text, key=len)
    return "; ".join(kept)


def _overlap(one: str, other: str) -> bool:
    """Whether half of the words of the shorter one stand in both, endings left aside."""
    words = [{word[:4] for word in re.findall(r"\w{4,}", text.lower())} for text in (one, other)]
    shorter = min(len(each) for each in words)
    return 2 * len(words[0] & words[1]) >= shorter
