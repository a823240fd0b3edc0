import html.parser
import re

import pytest

from keras_infnet.daily import Version
from keras_infnet.daily.charts import Point, bar_table, line_chart, table
from keras_infnet.daily.report import report_of

pytestmark = pytest.mark.one_backend
VOID = {"meta", "line", "polyline"}


class Tags(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.links, self.said = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def version(number, day, **known):
    measured = {"all": {"click": {"auc": [0.6 + number / 100, 0.01], "ece": [0.1, 0.01]}}}
    return Version(
        number=number, day=day, decision="published", reason="auc <better>", base=number - 1,
        parent=number - 1, rows={"day": 1200, "train": 1100, "holdout": 100}, measured=measured,
        **known,
    )  # fmt: skip


def finding(check, what, level="fine", value=0.1):
    return {"check": check, "what": what, "level": level, "text": "a & b", "value": value}


FOUND = {
    "progressive": {"all": {"rows": 1200, "tasks": version(3, "").measured["all"]}},
    "gate": {
        "publish": True, "reason": "auc <better>", "score": 0.7, "before": 0.6,
        "difference": 0.1, "error": 0.02,
        "values": {"new": {"click": 0.7}, "before": {"click": 0.6}},
    },
    "calibration": {},
    "findings": [
        finding("unknown_ids", "video_id", "strange", 0.4),
        finding("drift", "<user>"),
    ],
    "curve": [{"epoch": 0, "step": step, "loss": 1 / step} for step in (1, 2, 3)],
}  # fmt: skip


def test_a_page_is_of_its_own_and_says_all():
    text = report_of(version(3, "2026-11-03"), FOUND, [version(2, "2026-11-02")])
    tags = Tags(text)
    assert "script" not in tags.seen and "img" not in tags.seen
    assert "http" not in text.replace("http-equiv", "")
    assert {*tags.links} == {"../index.html", "2.html"}
    said = " ".join(tags.said)
    for part in (
        "Version 3, 2026-11-03", "published", "auc <better>", "1,200", "0.6300 ± 0.0100",
        "0.60000", "0.70000", "video_id", "0.400", "<user>", "a & b", "Loss by step",
    ):  # fmt: skip
        assert part in said, part
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_the_first_version_has_no_page_of_days_before():
    first = Version(number=1, day="2026-11-01", decision="kept", reason="below its floor")
    gate = {**FOUND["gate"], "difference": None, "before": None, "values": {"new": {"click": 0.7}}}
    tags = Tags(report_of(first, {**FOUND, "progressive": {}, "gate": gate}, []))
    said = " ".join(tags.said)
    assert "kept back" in said and "nothing could score the day before" in said
    assert tags.links == ["../index.html"]


def test_a_line_is_where_its_values_are():
    points = [Point(0, "a", 0.0), Point(1, "b", 1.0, 0.25), Point(2, "c", float("nan"))]
    text = line_chart("auc", {"click": points})
    (line,) = re.findall(r'<polyline class="s0" points="([^"]+)"', text)
    (x0, y0), (x1, y1) = (tuple(map(float, place.split(","))) for place in line.split())
    assert x0 < x1 and y0 > y1
    (top, bottom) = re.findall(r'<line class="s0"[^>]* y1="([\d.]+)" y2="([\d.]+)"', text)[0]
    # Two errors up and down: as high as the line rises.
    assert float(bottom) - float(top) == pytest.approx(y0 - y1, abs=0.3)
    assert line_chart("auc", {"click": [Point(0, "a", float("nan"))]}) == ""


def test_bars_and_tables_escape_what_they_show():
    text = bar_table(("feature", "PSI"), [("<b>", 0.25, "0.250", "fine")], 0.5)
    assert "width:50.0%" in text and "&lt;b&gt;" in text
    assert "&lt;i&gt;" in table(("task",), [["<i>"]]) and table(("task",), []) == ""
