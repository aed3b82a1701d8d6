"""The pages in a real browser: width, contrast, keyboard, streams, stories; nothing that it complains about."""

import re
import shutil
import threading
import time

import pytest

from foreword.serving.limits import Limits

from .conftest import running
from .paging import storytelling

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
PATHS = (
    "playground", "forewords", "forewords/card/prompt-both?words=1", "forewords/compare?name=judge&name=lora",
    "stories", "status", "nothing",
)  # fmt: skip
WAIT = 240_000

# Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3), and what it is.
CONTRAST = """() => {
  const part = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], under) => [r, g, b].map((value, i) => value * a + under[i] * (1 - a));
  const light = (rgb) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const colours = [];
    for (let one = element; one; one = one.parentElement) colours.unshift(part(getComputedStyle(one).backgroundColor));
    return colours.reduce((under, colour) => over(colour, under), [255, 255, 255]);
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const fields = ["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName) && element.type !== "checkbox";
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!(fields || words) || !element.checkVisibility()) continue;
    if (element.closest("svg, :disabled, option, noscript, .hidden")) continue;
    const ground = behind(element);
    const [a, b] = [light(over(part(getComputedStyle(element).color), ground)), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return found;
}"""
# What a person who does not see the page would miss.
UNNAMED = """() => {
  const found = [];
  const say = (what, element) => found.push(`${what}: ${element.outerHTML.slice(0, 100)}`);
  for (const one of document.querySelectorAll("input:not([type=hidden]), textarea, select"))
    if (![...one.labels].some((label) => label.textContent.trim())) say("no label", one);
  for (const one of document.querySelectorAll("a[href], button")) if (!one.textContent.trim()) say("no name", one);
  for (const one of document.querySelectorAll("svg:not([aria-hidden])"))
    if (!one.querySelector("title")) say("no title", one);
  for (const one of document.querySelectorAll("th")) if (!one.scope) say("no scope", one);
  for (const key of ["aria-labelledby", "aria-describedby", "for"])
    for (const one of document.querySelectorAll(`[${key}]`))
      for (const id of one.getAttribute(key).split(" ")) if (!document.getElementById(id)) say(`no #${id}`, one);
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  if (new Set(ids).size !== ids.length) found.push("an id twice");
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((one) => Number(one.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) found.push("not one h1");
  for (let i = 1; i < levels.length; i++)
    if (levels[i] > levels[i - 1] + 1) found.push(`h${levels[i - 1]} and then h${levels[i]}`);
  for (const one of ["main", "nav[aria-label]", "header", "html[lang]"])
    if (document.querySelectorAll(one).length < 1) found.push(`no ${one}`);
  return found;
}"""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser():
    sync_api.expect.set_options(timeout=WAIT)
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def open_page(browser):
    """Opens a page; what the browser complains about fails the test."""
    contexts, complaints = [], []

    def open_(address, width=1200, scheme="light", expected=(), **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda told: told.type in ("error", "warning") and not any(e in told.text for e in expected)
                and complaints.append(told.text))  # fmt: skip
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    with storytelling(tmp_path_factory.mktemp("empty"), limits=Limits(slots=8)) as made:
        yield made


def check(page):
    assert page.evaluate(SIDEWAYS) <= 0
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(UNNAMED) == []


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_readable_at_every_width_and_in_the_dark(writing, open_page, path):
    missing = ("404",) if path == "nothing" else ()
    for width, scheme in ((1200, "light"), (360, "light"), (1200, "dark"), (360, "dark")):
        page = open_page(f"{writing[0]}/pages/{path}", width, scheme, missing)
        for one in page.locator("details").all():
            one.evaluate("one => { one.open = true; }")
        check(page)


def test_the_checks_see_what_is_wrong(writing, open_page):
    page = open_page(f"{writing[0]}/pages/status")
    page.evaluate("""() => { const bad = document.createElement("div"); bad.innerHTML = "<input id=x><h4>pale</h4>";
        bad.style.cssText = "width: 3000px; color: #bebebe"; document.querySelector("main").append(bad); }""")
    assert page.evaluate(SIDEWAYS) > 0 and len(page.evaluate(CONTRAST)) == 2  # field and heading
    assert any("no label" in one for one in page.evaluate(UNNAMED))
    assert any("and then h4" in one for one in page.evaluate(UNNAMED))


def focused(page):
    return page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")


def tab_to(page, wanted, most=40):
    """Press Tab until it is reached; all on the way can be seen to have the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none", focused(page)
        if focused(page) == wanted:
            return
    raise AssertionError(f"{wanted} is not reached")


def test_the_playground_by_keyboard_alone(writing, open_page):
    page = open_page(f"{writing[0]}/pages/playground")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    page.keyboard.press("Enter")
    tab_to(page, "input")
    page.keyboard.press("Control+a")
    page.keyboard.type("the good film")
    tab_to(page, "find")
    page.keyboard.type("judge")
    box = page.get_by_label("judge classification")
    box.wait_for()
    page.locator("#chooser .ticks:not(.taken) li").nth(1).wait_for(state="detached")
    assert focused(page) == "find"
    tab_to(page, box.get_attribute("id"))
    page.keyboard.press("Space")
    page.locator(".taken").get_by_label("judge").wait_for()
    assert focused(page) == box.get_attribute("id") and box.is_checked()
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        if focused(page) == "go":
            break
    page.keyboard.press("Enter")
    page.locator("article .facts-line").nth(2).wait_for()
    titles = page.locator("article h3").all_inner_texts()
    assert titles[0] == "Hard prompt" and titles[-1] == "judge" and len(titles) == 3
    assert page.locator("#input").input_value() == "the good film"
    assert page.locator("article").last.locator("rect.value").count() == 2
    check(page)


def test_an_answer_is_read_while_it_is_written_and_stopping_frees_the_slots(writing, open_page, monkeypatch):
    url, service = writing
    decoder, go = service.engine.decoder, threading.Event()
    step, count = decoder.step, iter(range(1000))

    def waits():
        if next(count) >= 8:
            go.wait(240)
        step()

    monkeypatch.setattr(decoder, "step", waits)
    page = open_page(f"{url}/pages/playground?with=lora")
    page.fill("#input", "good")
    page.fill("#instruction", "Go on.")
    page.locator("summary", has_text="How texts").click()
    page.fill("#max_tokens", "40")
    page.fill("#temperature", "1.5")
    page.keyboard.press("Enter")
    said = page.locator(".said[aria-busy=true]").first
    sync_api.expect(said).to_have_text(re.compile(r"\S"))
    page.click("#stop")
    sync_api.expect(page.locator("article .problem").first).to_have_text("stopped")
    sync_api.expect(page.locator(".said[aria-busy=true]")).to_have_count(0)
    go.set()
    deadline = time.monotonic() + 20
    while not service.engine.idle and time.monotonic() < deadline:
        time.sleep(0.02)
    assert service.engine.idle
    page.fill("#max_tokens", "5")
    page.locator("#input").press("Control+Enter")
    page.locator("article .facts-line").nth(1).wait_for()
    assert page.locator("#stop").is_hidden()


def test_what_goes_wrong_is_told_beside_the_form(writing, open_page):
    page = open_page(f"{writing[0]}/pages/playground", expected=("400",))
    page.uncheck("#hard")
    page.locator(".taken input").press("Space")
    sync_api.expect(page.locator(".taken")).to_have_count(0)
    page.click("#go")
    sync_api.expect(page.locator("#notice")).to_contain_text("nobody is asked")
    assert page.locator("#notice").get_attribute("role") == "alert"


def test_forewords_are_found_and_compared(writing, open_page):
    page = open_page(f"{writing[0]}/pages/forewords")
    page.fill("#find", "v2")
    sync_api.expect(page.locator("#shelf [role=status]")).to_have_text("3 found")
    page.get_by_label("compare v2-random").check()
    page.fill("#find", "lora")
    sync_api.expect(page.locator("#shelf [role=status]")).to_have_text("1 found")
    page.get_by_label("compare lora").check()
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("heading", name="Side by side").wait_for()
    assert page.locator("thead th").all_inner_texts() == ["what", "v2-random", "lora"]
    page.goto(f"{writing[0]}/pages/forewords/card/prompt-both")
    page.get_by_role("link", name="Find the words").click()
    page.locator("#words table").wait_for()


def test_the_status_lives(writing, open_page):
    url, service = writing
    page = open_page(f"{url}/pages/status")
    before = service.metrics.registry.get_sample_value("foreword:request_failure_total", {"status": "404"}) or 0
    shown = page.locator("li", has_text="Errors").locator(".value")
    was = float(shown.inner_text())
    page.request.post(f"{url}/v1/completions", data={"model": "nobody", "prompt": "x"})
    sync_api.expect(shown).to_have_text(f"{was + 1:.0f}")
    assert service.metrics.registry.get_sample_value("foreword:request_failure_total", {"status": "404"}) == before + 1


def test_a_story_is_written_rolled_anew_pinned_and_printed(studio, open_page):
    page = open_page(f"{studio[0]}/pages/stories?preset=seaside")
    for field, value in {"#length": "12-20", "#n": "2", "#clues": "a crab", "#approach": "plain"}.items():
        page.fill(field, value)
    page.get_by_role("button", name="Write").click()
    page.locator("article.candidate").nth(1).wait_for()
    check(page)
    stories = page.locator(".story")
    (first, second), seeds = stories.all_inner_texts(), page.locator("article details").all_text_contents()
    page.locator("#pin-1").focus()
    page.keyboard.press("Enter")
    page.locator(".pinned").wait_for()
    assert focused(page) == "pin-1" and stories.all_inner_texts() == [second, first]
    page.locator("#roll-0").click()
    page.locator("#progress").wait_for()
    page.locator("#progress").wait_for(state="detached")
    assert stories.all_inner_texts()[0] == second
    kept, new = page.locator("article details").all_text_contents()
    assert kept == seeds[1] and new not in seeds  # it tells the seed
    sync_api.expect(page.locator("#said")).to_have_text("2 stories are there.")
    page.set_viewport_size({"width": 360, "height": 800})
    check(page)
    page.get_by_role("link", name="Print what is pinned").click()
    page.locator(".sheet").wait_for()
    check(page)
    page.emulate_media(media="print")
    assert page.locator(".sheet").count() == 1 and page.locator("nav").is_hidden() and page.locator("h1").is_hidden()
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('.sheet p')).fontSize)") >= 23  # 18 pt


def test_without_a_script_everything_is_still_done(writing, studio, open_page):
    page = open_page(f"{writing[0]}/pages/playground", java_script_enabled=False)
    page.fill("#find", "judge")
    page.get_by_role("button", name="Look").click()
    page.get_by_label("judge classification").check()
    page.click("#go")
    assert page.locator("article .facts-line").count() == 3
    page.goto(f"{writing[0]}/pages/forewords?find=lora")
    assert page.locator("#shelf article, #shelf li.card").count() == 1
    page.goto(f"{studio[0]}/pages/stories")
    for field, value in {"#length": "6-12", "#n": "1", "#clues": "", "#approach": "plain"}.items():
        page.fill(field, value)
    page.get_by_role("button", name="Write").click()
    page.locator("article.candidate").wait_for()  # the page asks again by itself
    page.locator("#pin-0").click()
    page.locator(".pinned").wait_for()


def test_a_key_is_given_once(writers, open_page):
    with running(writers, "llama", ("the key",)) as (url, _):
        page = open_page(f"{url}/pages/status", expected=("401",))
        page.get_by_role("heading", name="Sign in").wait_for()
        check(page)
        page.fill("#key", "another")
        page.keyboard.press("Enter")
        page.locator("#wrong").wait_for()
        page.fill("#key", "the key")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Playground").wait_for()
        page.click("#go")
        page.locator("article .facts-line").nth(1).wait_for()
        page.context.clear_cookies()
        page.click("#go")
        page.get_by_role("heading", name="Sign in").wait_for()
