"""Where in a prompt a place stands: below passages that were retrieved, or inside the conversation."""

from __future__ import annotations

import re
from enum import StrEnum

from collectors.diagnose.prefix.prompts import TURNS, Segment
from collectors.diagnose.prefix.spans import Split

REACH = 20_000  # characters above a place in which its heading stands
_HEAD = 200  # characters at the head of a segment that say what it is


class Part(StrEnum):
    """What a heading announces."""

    RETRIEVAL = "retrieval"
    CONVERSATION = "conversation"
    OTHER = "other"


_RETRIEVED = (
    r"passages?|contexts?|documents?|docs?|search results?|retriev(?:ed|al)|sources?|snippets?|knowledge"
    r"|references?|catalog(?:ue)?|excerpts?|検索結果|参考(?:資料|情報)?|資料|抜粋|関連情報|商品情報|コンテキスト|文書"
)
_TALK = (
    r"users?|human|customer|reader|shopper|assistant|ai|bot|question|query|history|conversation|chat|dialog(?:ue)?"
    r"|messages?|turns?|inst|お客様?|ユーザー?|客|質問|店員|アシスタント|会話(?:履歴)?|履歴|対話|発言"
)
# A line that announces what follows: a title, a tag, a role, a template's mark. A bullet announces nothing.
_HEADING = re.compile(
    rf"""^[ \t]{{0,40}}(?:
        <(?:\w+_)?(?:(?P<r1>{_RETRIEVED})|(?P<t1>{_TALK}))(?:_\w+)?[ >]
      | (?:\[|(?:[#=*■◆●【(-]{{2,}}|[#■◆●【])\s*)(?:\w+[ ]){{0,2}}?
            (?:(?P<r2>{_RETRIEVED})|(?P<t2>{_TALK}))(?!\w)
      | (?:\w+[ ]){{0,2}}?(?P<r3>{_RETRIEVED})(?:(?:[ ]\w+){{1,3}}\s*[::][ \t]*$|[ ]?\d*\s*[::])
      | (?P<t3>{_TALK})\s*[::]
      | (?:(?P<o1></?\w+)|(?:[#■◆●]+|[=-]{{2,}})\s*(?P<o2>[^\W\d]\w*)|(?P<o3>【\w+))
      | (?P<o4>[^\n]{{1,60}}[::][ \t]*$)
    )""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
# What chat templates put before a role, wherever in a line it stands.
_MARK = re.compile(
    r"(?P<t><\|im_start\|>(?:user|assistant)|<\|start_header_id\|>(?:user|assistant)|<\|(?:user|assistant)\|>"
    r"|\[INST\](?!\s*<<SYS)|<</SYS>>|<start_of_turn>)|(?P<o><\|im_start\|>|<\|start_header_id\|>|<<SYS>>)"
)
_TURN = re.compile(
    r"(?:<\|im_start\|>|<\|start_header_id\|>|<\||^[ \t]{0,40}(?:[#*\[<(【「]+\s*)?)"
    r"(?:(?:assistant|ai|bot)(?!\w)|店員|アシスタント|係)",
    re.IGNORECASE | re.MULTILINE,
)

# A turn that was said. A bare "Assistant:" at the end only asks for an answer.
_SAID = re.compile(r"[\W_]*(?:\|?end_header_id\|>)?[\W_]*[^\W_]")


def part_at(text: str, at: int) -> Part:
    """What the nearest heading above a place announces."""
    heading = _heading(text, at)
    return _PARTS[(heading.lastgroup or "o")[0]] if heading else Part.OTHER


def heads(text: str, at: int) -> bool:
    """Whether a lone word with a number in it is all that stands behind a heading, as in "User: u-0042"."""
    heading = _heading(text, at)
    if heading is None or "\n" in text[heading.end() : at]:
        return False
    rest = text[heading.end() :].split("\n", 1)[0].split()
    return len(rest) == 1 and any(c.isdigit() for c in rest[0])


def in_passages(split: Split) -> bool:
    """Whether either prompt parts from the other inside passages that no turn holds."""
    return any(
        segment is not None and _retrieved(segment, text, split.at)
        for segment, text in zip(split.segments, split.texts, strict=True)
    )


def history_follows(split: Split) -> bool:
    """Whether turns of the conversation stand behind the difference in both prompts."""
    return all(
        any(s.role == "assistant" for s in prompt.segments[split.number + 1 :])
        or any(_SAID.match(text, turn.end()) for turn in _TURN.finditer(text, split.at))
        for prompt, text in zip((split.one, split.other), split.texts, strict=True)
    )


def in_conversation(split: Split) -> bool:
    """Whether both prompts have reached the conversation, or what belongs to its newest turn."""
    one, other = split.segments
    return all(
        segment is None
        or segment.role in TURNS
        or _retrieved(segment, segment.text, split.at)
        or part_at(segment.text, split.at) is not Part.OTHER
        for segment in (one, other)
    )


def moved(split: Split) -> bool:
    """Whether the same messages stand in another order from the difference on."""
    rest = [
        [(s.role, s.text) for s in prompt.segments[split.number :]] for prompt in (split.one, split.other)
    ]
    return len(rest[0]) > 1 and sorted(rest[0]) == sorted(rest[1])


def passages_among(split: Split) -> bool:
    """Whether passages stand among the messages from the difference on."""
    return any(_is_passages(s) for s in split.one.segments[split.number :])


def _heading(text: str, at: int) -> re.Match[str] | None:
    """The nearest heading that has ended before a place."""
    lowest, start, end = max(0, at - REACH), at, at
    while start > lowest:
        start = text.rfind("\n", 0, start - 1) + 1 if start > 1 else 0
        marks = list(_MARK.finditer(text, start, min(at, end)))
        if found := marks[-1] if marks else _HEADING.match(text, start, at):
            return found
        end = start
    return None


_PARTS = {"r": Part.RETRIEVAL, "t": Part.CONVERSATION, "o": Part.OTHER}


def _retrieved(segment: Segment, text: str, at: int) -> bool:
    if segment.role in TURNS:
        return False
    return _is_passages(segment) or part_at(text, at) is Part.RETRIEVAL


def _is_passages(segment: Segment) -> bool:
    if segment.role in TURNS or not segment.role:
        return False
    if re.search(rf"(?<![a-z])(?:{_RETRIEVED})(?![a-z])", segment.name, re.IGNORECASE):
        return True
    first = segment.text[:_HEAD].lstrip().split("\n", 1)[0]
    return part_at(f"{first}\n", len(first) + 1) is Part.RETRIEVAL
