"""The page in a real browser, opened from the disk with the network cut."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from advbench.report.render import report
from tests.report.synthetic_results import Plan, write_results

sync_api = pytest.importorskip("playwright.sync_api", reason="NO BROWSER TESTS: playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HOSTILE = "</script><script>alert(1)</script>\"'\u202e$\\frac " + "x" * 10_000


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    if BROWSER is None:
        reason = "NO BROWSER TESTS: neither chromium nor google-chrome is on PATH"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("browser")
    plan = Plan(
        defenses=("none", HOSTILE), n=60, classes=("zero", HOSTILE, *"23456789"), failed=(("none", "pgd", "l2"),)
    )
    return report([write_results(folder / "m", plan)], folder / "m.html").as_uri()


@pytest.fixture
def visit(browser: sync_api.Browser, address: str) -> Iterator[object]:
    """Open the page with given context options; what it requests or says beyond itself fails the test."""
    noise: list[str] = []
    contexts = []

    def go(fragment: str = "", **options: object) -> sync_api.Page:
        contexts.append(browser.new_context(offline=True, **options))
        page = contexts[-1].new_page()
        page.on("request", lambda request: noise.append(request.url[:200]))
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("dialog", lambda dialog: noise.append(dialog.message))
        page.goto(address + fragment)
        return page

    yield go
    for context in contexts:
        context.close()
    assert [entry for entry in noise if not entry.startswith(("data:image/", "data:,", address))] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_the_window_and_is_silent(visit: object, width: int, scheme: str) -> None:
    page = visit(viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_all_numbers_are_there_without_javascript(visit: object) -> None:
    with_script, without = visit(), visit(java_script_enabled=False)
    numbers = [page.locator("table td").all_text_contents() for page in (with_script, without)]
    assert numbers[0] == numbers[1]
    assert without.locator("thead button").count() == 0


def test_hostile_names_appear_as_text(visit: object) -> None:
    page = visit()
    shown = HOSTILE.replace("\u202e", "<U+202E>")
    assert page.locator(".leaders bdi", has_text="</script>").first.text_content() == shown
    assert page.locator("script").count() == 1


def test_a_long_substitute_wraps_and_leaves_the_radii_in_sight(visit: object) -> None:
    page = visit(viewport={"width": 1280, "height": 800})
    names = page.locator(".frame[aria-labelledby*='transfers-'] tbody td:nth-child(5) .name")
    assert names.count() > 0
    boxes = names.evaluate_all("""names => names.map(name => {
        name.textContent = "undefended twin of small_cnn fast_adversarial";
        return [name.offsetWidth, name.scrollHeight - name.clientHeight];
    })""")
    assert max(width for width, _ in boxes) <= 8.5 * 16 + 1
    assert max(hidden for _, hidden in boxes) <= 1


@pytest.mark.parametrize("width", [390, 1280])
def test_names_are_whole_in_headings_and_told_in_full_where_tables_cut_them(visit: object, width: int) -> None:
    page = visit(viewport={"width": width, "height": 800})
    edges = """names => names.map(name => {
        const text = document.createRange(); text.selectNodeContents(name);
        const box = name.parentElement.closest("figcaption, summary").getBoundingClientRect();
        return [text.getBoundingClientRect().right - box.right, text.getBoundingClientRect().bottom - box.bottom];
    })"""
    beyond = page.locator("figcaption .name, .gallery > summary .name").evaluate_all(edges)
    assert len(beyond) > 4
    assert max(max(pair) for pair in beyond) <= 1
    cut = "names => names.filter(name => name.scrollWidth > name.clientWidth + 1 && !name.title).length"
    assert page.locator("table .name").evaluate_all(cut) == 0


def column(page: sync_api.Page) -> list[float]:
    cells = page.locator(".leaders tbody td:nth-child(3)")
    return [float(cell.get_attribute("data-value") or "nan") for cell in cells.all()]


@pytest.mark.parametrize("how", ["click", "keyboard"])
def test_tables_sort_both_ways(visit: object, how: str) -> None:
    page = visit()
    head = page.locator(".leaders thead th", has_text="Clean")
    button = head.get_by_role("button")

    def press() -> None:
        if how == "click":
            button.click()
        else:
            button.focus()
            page.keyboard.press("Enter")

    press()
    assert head.get_attribute("aria-sort") == "descending"
    assert column(page) == sorted(column(page), reverse=True)
    press()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page) == sorted(column(page))
    assert page.locator('.leaders th[aria-sort="ascending"]').count() == 1


def test_missing_values_stay_last_in_both_directions(visit: object) -> None:
    page = visit()
    table = page.locator("table.sortable").first
    table.evaluate("table => table.tBodies[0].rows[0].cells[2].dataset.value = ''")
    for _ in range(2):
        table.locator("thead button").nth(2).click()
        last = table.locator("tbody tr").last.locator("td").nth(1)
        assert last.get_attribute("data-value") == ""


def test_a_deep_link_opens_what_it_points_to(visit: object) -> None:
    link = visit().locator(".heatmap a").first.get_attribute("href")
    page = visit(link)
    assert page.evaluate("document.querySelector(':target').tagName") == "TR"
    gallery = "#" + (visit().locator("details.gallery").last.get_attribute("id") or "")
    assert visit(gallery).locator(gallery).get_attribute("open") is not None


def test_the_print_shows_the_folded_numbers(visit: object, tmp_path: Path) -> None:
    page = visit()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()


def test_on_a_phone_no_verdict_and_no_headline_number_lies_beyond_the_edge(visit: object) -> None:
    page = visit(viewport={"width": 390, "height": 800})
    tables = page.locator("table.stacks")
    assert tables.count() >= 2  # the leaderboard, and paired tests
    edges = "cells => cells.map(cell => cell.getBoundingClientRect()).filter(box => box.width).map(box => box.right)"
    found = page.locator("table.stacks tbody td").evaluate_all(edges)
    assert len(found) > 10
    assert max(found) <= 390
    labels = page.locator("table.stacks td:not(.wide)").evaluate_all("cells => cells.map(cell => cell.dataset.label)")
    assert all(labels)  # every value says what it is, because the head of the table is out of sight
    worst = page.locator(".heatmap td.worst").first.bounding_box()
    assert worst["x"] + worst["width"] <= 390
    assert page.locator("td.wide:visible, th.wide:visible").count() == 0
    assert visit(viewport={"width": 1280, "height": 800}).locator(".narrow:visible").count() == 0


def test_what_goes_on_beyond_the_edge_shows_it_until_its_end(visit: object) -> None:
    page = visit(viewport={"width": 390, "height": 800})
    frame = page.locator(".frame:has(.heatmap)").first
    assert frame.evaluate("frame => frame.scrollWidth > frame.clientWidth")
    first = page.locator(".frame:has(.heatmap) >> nth=0").and_(page.locator(".more"))
    first.wait_for(state="attached")  # not wait_for_function: the page's policy forbids the eval that it polls with
    frame.evaluate("frame => frame.scrollLeft = frame.scrollWidth")
    first.wait_for(state="detached")
    assert visit(viewport={"width": 1280, "height": 800}).locator(".frame.more:has(.leaders)").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_twenty_attacks_fit_the_window(browser: sync_api.Browser, tmp_path: Path, width: int) -> None:
    attacks = tuple(f"{name} via=ni_fgsm {number}" for number, name in enumerate(["transfer", "fgsm"] * 10))
    plan = Plan(n=20, defenses=("none", "adversarial eps=0.1"), attacks=attacks)
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(report([write_results(tmp_path / "m", plan)], tmp_path / "m.html").as_uri())
    frames = page.locator(".frame:has(.heatmap.tall)")
    wide = frames.evaluate_all("frames => frames.map(frame => frame.scrollWidth - frame.clientWidth)")
    assert len(wide) > 2
    assert max(wide) <= 0
    page.close()
