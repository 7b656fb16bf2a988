"""The written page as text: escaping, policy, determinism, gaps, size."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from advbench.report.render import report
from advbench.report.stored import read_matrix
from advbench.store import read_table, write_table
from advbench.types import ConfigError
from tests.report.synthetic_results import Plan, write_results

HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "safe\u202egnp.exe",
    "$\\frac{1}{0}$ {{ 7 * 7 }} {% raw %}",
    "x" * 10_000,
)


class Outline(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    plan = Plan(n=60, failed=(("none", "pgd", "linf"),), missing=(("none", "fgsm", "l2"),))
    return report([write_results(folder / "m", plan)], folder / "m.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_same_results_give_the_same_bytes_wherever_they_lie(tmp_path: Path, page: str) -> None:
    plan = Plan(n=60, failed=(("none", "pgd", "linf"),), missing=(("none", "fgsm", "l2"),))
    again = report([write_results(tmp_path / "elsewhere" / "m", plan)], tmp_path / "m.html")
    assert again.read_text(encoding="utf-8") == page


def test_the_policy_allows_this_style_and_script_and_nothing_else(page: str) -> None:
    policy = next(m["content"] or "" for m in Outline(page).all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_nothing_points_outside_the_page(page: str) -> None:
    outline = Outline(page)
    for tag, attributes in outline.tags:
        for name in ("src", "href", "srcset"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:")), (tag, target)
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {(a.get("href") or "")[1:] for a in outline.all("a")}
    assert links <= set(ids)


def test_the_page_is_built_for_readers_of_all_kinds(page: str) -> None:
    outline = Outline(page)
    assert outline.all("html") == [{"lang": "en"}]
    assert len(outline.all("h1")) == 1
    assert all("scope" in head for head in outline.all("th"))
    assert all("alt" in image for image in outline.all("img"))
    assert len(outline.all("caption")) == len(outline.all("table"))
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_failed_and_missing_cells_are_shown_with_their_reasons(page: str) -> None:
    text = "".join(Outline(page).text)
    assert "2 of 27 cells have no result" in text
    assert text.count("RuntimeError: CUDA out of memory") == 5  # each of four heat maps, and the table
    assert "fgsm does not target" in text


@pytest.mark.slow
def test_sections_without_data_say_how_to_get_them(tmp_path: Path) -> None:
    plan = Plan(n=20, attacks=("fgsm",), defenses=("none",))
    every = [("none", a, n) for a in ("fgsm", "random_sphere", "loss_ascent") for n in ("linf", "l2")]
    folder = write_results(tmp_path / "m", Plan(**{**plan.__dict__, "missing": tuple(every)}))
    text = "".join(Outline(report([folder], tmp_path / "m.html").read_text(encoding="utf-8")).text)
    assert text.count("No result: no cell") == 8  # three of them in the curves, one per threat, two against budget
    assert text.count("No result: none of the") == 2  # controls and loss ascent are planned
    assert text.count("Not run:") == 3  # explanations, pictures and transfer are not
    assert "advbench run benchmarks/digits.yaml" in text
    assert "5 of 5 cells have no result\n(5 not run)" in text
    assert "nothing below speaks about robustness" in text
    assert "loss_ascent to the attacks" not in text


def test_what_failed_is_not_said_to_be_not_run(page: str, tmp_path: Path) -> None:
    assert "nothing below speaks about robustness" not in page
    plan = Plan(n=20, attacks=("transfer",), defenses=("none",))
    every = tuple(("none", attack, norm) for attack in ("transfer", "loss_ascent") for norm in ("linf", "l2"))
    folder = write_results(tmp_path / "m", Plan(**{**plan.__dict__, "failed": every}))
    failed = report([folder], tmp_path / "m.html").read_text(encoding="utf-8")
    text = "".join(Outline(failed).text)
    assert "(3 failed)" in text
    assert "nothing below speaks about robustness" in text
    assert "adds examples made on a substitute" not in text
    assert text.lower().count("not run") == 2  # explanations and pictures, for which nothing failed
    assert text.count("Not run: with two nets") == text.count("Not run: no cell has compared") == 1
    legend = failed[failed.index('class="legend"') : failed.index('class="plots')]
    assert "random_sphere" in legend
    assert "worst case" not in legend
    assert "transfer" not in legend


def test_nothing_to_be_wary_of_makes_no_box(page: str) -> None:
    assert not Outline(page).all("aside")
    assert "#care" not in page


@pytest.mark.slow
def test_invalid_results_are_told_before_the_leaderboard(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "m", Plan(n=20, attacks=("fgsm",), defenses=("none",)))
    cell = read_matrix(folder).cells[0]
    rows = read_table(cell.folder / "samples.parquet")
    rows.loc[:2, ["status", "in_ball", "fooled"]] = ["invalid", False, False]
    write_table(cell.folder / "samples.parquet", rows)
    page = report([folder], tmp_path / "m.html").read_text(encoding="utf-8")
    text = "".join(Outline(page).text)
    sentence = "linear none, linf: 3 of 80 results of fgsm are invalid and count as held: 3 lie outside the ball"
    assert sentence in text
    assert text.index("Read with care") < text.index(sentence) < text.index("Models by robust accuracy")
    assert {"href": "#care"} in Outline(page).all("a")


def test_a_cell_of_a_heat_map_tells_its_interval_and_n(page: str) -> None:
    places = [place for place in Outline(page).all("td") if "heat" in (place.get("class") or "").split()]
    numbers = [place["title"] or "" for place in places if "void" not in (place["class"] or "")]
    assert len(numbers) > 20
    assert all(re.search(r"95 % interval \d+\.\d to \d+\.\d %", title) and "n = 60" in title for title in numbers)
    text = "".join(Outline(page).text)
    assert all(f"({title})" in text for title in numbers)
    assert any(re.match(r"95 % interval of the median [^ ]+ (to|or) .*; an error found on", title) for title in numbers)


def test_the_transfer_section_tells_how_often_the_model_errs(page: str) -> None:
    section = page[page.index('aria-labelledby="transfer"') : page.index('aria-labelledby="cost"')]
    rows = re.findall(r"<tr><td><a.*?</tr>", section, re.DOTALL)
    assert len(rows) == 6
    for row in rows:
        errors = [float(value) for value in re.findall(r'data-value="([\d.]+)"', row)]
        assert len(errors) == 5  # clean, then four eps
        assert errors == sorted(errors)


@pytest.mark.parametrize("name", ["gallery.safetensors", "explanations.parquet"])
def test_damaged_pictures_of_a_cell_are_left_out_and_the_page_says_so(tmp_path: Path, name: str) -> None:
    folder = write_results(tmp_path / "m", Plan(n=20, attacks=("fgsm",), defenses=("none",)))
    damaged = [cell for cell in read_matrix(folder).cells if cell.id.attack in ("fgsm", "loss_ascent")]
    assert len(damaged) == 3
    for cell in damaged[1:]:
        whole = (cell.folder / "gallery.safetensors").read_bytes()
        (cell.folder / name).write_bytes(whole[: len(whole) // 2])
    text = " ".join("".join(Outline(report(folder, tmp_path / "m.html").read_text(encoding="utf-8")).text).split())
    what = {"gallery.safetensors": "samples", "explanations.parquet": "explanations"}[name]
    said = f"The stored {what} of 2 cells cannot be read and are left out: linear none against fgsm, l2; linear none"
    assert said in text
    (damaged[0].folder / name).write_bytes(b"")
    text = "".join(Outline(report(folder, tmp_path / "m.html").read_text(encoding="utf-8")).text)
    assert f"The stored {what} of 3 cells cannot be read" in text
    assert "No result: no cell has stored samples." not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:12])
def test_hostile_names_are_text(tmp_path: Path, name: str) -> None:
    folder = write_results(
        tmp_path / "m",
        Plan(
            name, (name,), ("none", name), ("fgsm", name), (name, *"123456789"), 20, ((name, "fgsm", "l2"),), (), name
        ),
    )
    page = report([folder], tmp_path / "m.html").read_text(encoding="utf-8")
    outline = Outline(page)
    assert len(outline.all("script")) == 1
    assert not [image for image in outline.all("img") if not (image["src"] or "").startswith("data:")]
    assert "\u202e" not in page
    assert name.replace("\u202e", "<U+202E>") in html.unescape(page)


@pytest.mark.slow
def test_several_matrices_share_one_page(tmp_path: Path) -> None:
    folders = [write_results(tmp_path / name, Plan(question=f"Question {name}?", n=20)) for name in ("a", "b")]
    outline = Outline(report(folders, tmp_path / "both.html").read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"Question a?", "Question b?"} <= set(outline.text)


def test_a_page_about_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one folder"):
        report([], tmp_path / "page.html")
