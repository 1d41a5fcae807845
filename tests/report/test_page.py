"""The page is one safe, well-formed, accessible file of less than 3 MB that says the right numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from report_toys import entry, toy_contents, toy_gallery, toy_heat, toy_rows

from decoct.report.contents import Contents, Estimate, Row
from decoct.report.page import page

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = "<script>alert(1)</script>\"'&"


class Reader(HTMLParser):
    """Collects every element with its attributes and checks that each end tag meets its start tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return page(toy_contents())


def test_the_page_asks_nothing_of_the_network(text: str) -> None:
    reader = Reader(text)
    for _, attributes in reader.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
    assert reader.all("script") == []
    assert not re.search(r"@import|url\(|https?:", text.replace("http-equiv", ""))
    policy = next(a["content"] for a in reader.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_names_from_data_are_escaped_everywhere() -> None:
    names = (HOSTILE, *(f"{k}" for k in range(1, 10)))
    rows = (Row(entry(HOSTILE, 0.9, 640, 10), 1.0, Estimate(0.1, 0.01)), *toy_rows())
    contents = toy_contents(names, source=f"npz:{HOSTILE}")
    hostile = replace(
        contents, rows=rows, commands=(HOSTILE,), notes=(HOSTILE,), warnings=(HOSTILE,), facts=((HOSTILE, HOSTILE),)
    )
    text = page(hostile)
    reader = Reader(text)
    assert "<script" not in text
    assert reader.all("script") == []
    assert HOSTILE in "".join(reader.words)
    assert {name for _, attributes in reader.elements for name in attributes if name.startswith("on")} == set()


def test_it_works_by_keyboard_and_for_screen_readers(text: str) -> None:
    reader = Reader(text)
    ids = {attributes["id"] for _, attributes in reader.elements if "id" in attributes}
    links = [attributes["href"] for attributes in reader.all("a")]
    assert links[0] == "#accuracy"
    assert all(link.removeprefix("#") in ids for link in links)
    assert all(attributes.get("alt") for attributes in reader.all("img"))
    assert all("scope" in attributes for attributes in reader.all("th"))
    assert len(reader.all("caption")) == len(reader.all("table")) > 2
    charts = [attributes for attributes in reader.all("svg") if attributes.get("class") != "key"]
    assert charts
    assert all(a["role"] == "img" and "ridge reaches 95.2 percent" in a["aria-label"] for a in charts)
    for attributes in reader.all("div"):
        if attributes.get("class") == "scroll":
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]
    assert len(reader.all("summary")) == len(reader.all("details")) == 2
    assert reader.all("html")[0]["lang"] == "en"


def test_the_headline_says_how_much_smaller_and_how_good(text: str) -> None:
    words = "".join(Reader(text).words)
    # 93,405 bytes of all the data over 8,400 bytes of the best set.
    assert "digits, 11 times smaller, trains a network to 95.2 %." in words
    assert "All 1,437 real rows reach 98.2 %" in words
    assert "Random picks of the same bytes reach 7.2 points less" in words
    assert "95.2 ± 1.5" in words


def test_a_gain_inside_its_interval_is_not_called_a_gain() -> None:
    row = Row(entry("dm", 0.9, 640, 10), 1.0, Estimate(0.02, 0.05))
    words = "".join(Reader(page(replace(toy_contents(), rows=(row,)))).words)
    assert "Random picks of the same bytes cannot be told from it (+2.0 ± 5.0 points)" in words
    worse = replace(row, gain=Estimate(-0.08, 0.05))
    words = "".join(Reader(page(replace(toy_contents(), rows=(worse,)))).words)
    assert "Random picks of the same bytes reach 8.0 points more" in words


def test_the_best_set_is_chosen_by_validation_and_not_by_test() -> None:
    good = Row(replace(entry("quiet", 0.7, 640, 10), val=(0.9,) * 5), 1.0)
    lucky = Row(replace(entry("lucky", 0.8, 640, 10), val=(0.6,) * 5), 1.0)
    contents = replace(toy_contents(), rows=(lucky, good))
    best = contents.best()
    assert best is not None
    assert best.entry.name == "quiet"
    assert "trains a network to 70.0 %" in "".join(Reader(page(contents)).words)


def test_a_page_without_anything_judged_still_shows_the_sets() -> None:
    text = page(replace(toy_contents(), rows=(), heats=()))
    words = "".join(Reader(text).words)
    assert "No set has been judged yet" in words
    assert "Real beside compact" in words
    assert "Learned labels" not in words


def test_one_run_has_no_interval() -> None:
    single = replace(entry("dm", 0.9, 640, 10), seeds=(0,), last=(0.9,), selected=(0.9,), val=(0.9,))
    words = "".join(Reader(page(replace(toy_contents(), rows=(Row(single, 1.0),)))).words)
    assert "One run of convnet3" in words
    assert "±" not in words.partition("Where it comes from")[0].replace("half of the 95 % interval", "")


def _noisy(classes: int, side: int, columns: int) -> Contents:
    names = tuple(f"class {k}" for k in range(classes))
    galleries = tuple(toy_gallery(names[:10], 10, columns=columns, side=side, channels=3) for _ in range(3))
    galleries = tuple(replace(gallery, left_out=classes - 10) for gallery in galleries)
    heat = toy_heat(names, 1, "probabilities")
    return replace(toy_contents(names), galleries=galleries, heats=(heat, heat))


def test_even_noise_in_many_large_pictures_stays_under_three_megabytes() -> None:
    text = page(_noisy(200, 96, 11))
    assert len(text.encode()) < 3_000_000
    assert "190 more classes are not shown" in "".join(Reader(text).words)


def test_several_networks_get_a_chart_each() -> None:
    rows = toy_rows()
    second = tuple(replace(row, entry=replace(row.entry, network="resnet18")) for row in rows)
    reader = Reader(page(replace(toy_contents(), rows=rows + second)))
    assert len([a for a in reader.all("svg") if a.get("class") != "key"]) == 4
    assert "resnet18" in "".join(reader.words)


def _luminance(colour: str) -> float:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_the_contrast_that_text_needs(scheme: int) -> None:
    style = files("decoct.report").joinpath("page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\n *\}", style, flags=re.S)
    found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", blocks[scheme]))
    assert len(found) == 13
    paper = _luminance(found["paper"])
    for name in ("ink", "muted", "accent", *(f"m{k}" for k in range(7))):
        light, dark = sorted((_luminance(found[name]), paper), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name
