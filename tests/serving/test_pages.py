"""What all pages share: their frame, what they escape, which posts they take, and who may see them."""

import json
import re

import httpx
import pytest

from foreword.generation.stopping import Stopping
from foreword.serving.pages.access import Access, from_here
from foreword.serving.writing import Text

from .conftest import get, judge, post, running, save
from .paging import EVIL, Page, browse, send

PATHS = (
    "/playground", "/forewords", "/forewords/card/judge", "/forewords/compare?name=judge&name=lora", "/stories",
    "/status", "/nothing",
)  # fmt: skip
KEYS = ("first-key", "second-key")
SIGN_IN = "/pages/sign-in"


@pytest.fixture(scope="module")
def locked(writers):
    with running(writers, "llama", KEYS) as made:
        yield made


@pytest.mark.parametrize("path", PATHS)
def test_a_page_holds_no_script_and_no_style_and_says_so(writing, path):
    answer = browse(writing[0], path)
    assert answer.status_code == (404 if path == "/nothing" else 200)
    page = Page(answer.text)
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("nav")) == 1
    assert not page.all("style") and all(one["src"].startswith("/pages/assets/") for one in page.all("script"))
    assert not [own for _, own in page.seen if "style" in own or any(name.startswith("on") for name in own)]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PATHS)
def test_every_field_has_a_label_of_its_own(writing, path):
    page = Page(browse(writing[0], path).text)
    named = {own["for"] for own in page.all("label")}
    fields = [own for tag, own in page.seen if tag in ("input", "textarea", "select") and own.get("type") != "hidden"]
    ids = [own["id"] for _, own in page.seen if "id" in own]
    assert all(own.get("id") in named for own in fields) and len(set(ids)) == len(ids)
    assert named <= set(ids)
    referred = [part for _, own in page.seen for key in ("aria-labelledby", "aria-describedby")
                for part in (own.get(key) or "").split()]  # fmt: skip
    assert set(referred) <= set(ids)


def test_the_way_in_is_the_playground(writing):
    url, _ = writing
    for path in ("/", "/pages", "/pages/"):
        answer = get(url + path, follow_redirects=True)
        assert answer.status_code == 200 and answer.url.path == "/pages/playground"
    assert not [path for path in get(url + "/openapi.json").json()["paths"] if "pages" in path or path == "/"]


def test_what_pages_are_made_of_is_served_from_here(writing):
    url, _ = writing
    types = {"pages.css": "text/css", "pages.js": "javascript", "htmx.min.js": "javascript", "htmx.LICENSE.txt": "text"}
    for name, kind in types.items():
        answer = browse(url, f"/assets/{name}")
        assert answer.status_code == 200 and kind in answer.headers["content-type"]
    assert browse(url, "/assets/../site.py").status_code == 404
    links = re.findall(r'(?:src|href)="([^"]*)"', browse(url, "/playground").text)
    assert links and all(link.startswith(("/pages/", "#", "data:,")) for link in links)


def test_everything_is_escaped(tmp_path, monkeypatch):
    folder = save(judge("llama", "v2-random", "last"), tmp_path, f"x{EVIL}")  # its slash makes a folder in a folder
    manifest = json.loads((folder / "foreword.json").read_text())
    manifest |= {"labels": [EVIL, "other"], "run": {"data": {"source": EVIL}}}
    (folder / "foreword.json").write_text(json.dumps(manifest))
    with running(tmp_path, "llama") as (url, _):
        for method in (Stopping, Text):
            monkeypatch.setattr(method, "_decode", lambda self, ids: EVIL)
        name = f"x{EVIL}"
        asked = {"input": EVIL, "instruction": EVIL, "hard": "1", "who": name, "max_tokens": "2"}
        pages = [
            send(url, "/playground", asked),
            send(url, "/playground/sides", asked),
            browse(url, "/forewords"),
            browse(url, f"/forewords/card/{name}"),
            browse(url, "/forewords", params={"find": EVIL}),
            browse(url, "/playground", params={"with": name}),
            browse(url, "/status"),
            send(url, "/stories", {"topic": EVIL, "length": EVIL, "clues": EVIL}),
        ]
        for answer in pages:
            assert EVIL not in answer.text and EVIL.partition("/")[0] not in answer.text, answer.url
            assert "&lt;script&gt;" in answer.text, answer.url
        shown = Page(pages[0].text).words
        assert shown.count(EVIL) >= 5  # the input, the instruction, the names, the label, the text that was written


def test_posts_from_elsewhere_are_refused(writing):
    url, _ = writing
    ask = {"input": "good", "who": "lora"}
    for headers in ({}, {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": url + "0"},
                    {"origin": url, "sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):  # fmt: skip
        answer = post(f"{url}/pages/playground/choose", data=ask, headers=headers, timeout=60)
        assert answer.status_code == 403 and "was not sent by a page" in answer.text
    for headers in ({"origin": url}, {"sec-fetch-site": "same-origin", "origin": "null"}):
        assert post(f"{url}/pages/playground/choose", data=ask, headers=headers, timeout=60).status_code == 200


def test_an_origin_is_compared_whole():
    assert from_here({b"origin": b"https://Shown.example", b"host": b"shown.example"})
    assert not from_here({b"origin": b"http://[", b"host": b"["})
    assert not from_here({b"origin": b"", b"host": b""})


def test_other_hosts_are_refused_without_keys(writing):
    answer = get(f"{writing[0]}/pages/playground", headers={"host": "evil.example"})
    assert answer.status_code == 403 and "this machine alone" in answer.text


@pytest.mark.parametrize(
    ("body", "kind", "status", "match"),
    [
        (b"{}", "application/json", 415, "forms alone"),
        (b"input=%ff", "application/x-www-form-urlencoded", 400, "UTF-8"),
        (b"a=&" * 300, "application/x-www-form-urlencoded", 400, "too many fields"),
        (b"input=x&who=lora&temperature=warm", "application/x-www-form-urlencoded", 400, "temperature: give a number"),
        (b"input=x&who=lora&temperature=nan", "application/x-www-form-urlencoded", 400, "from 0 to 2"),
        (b"input=x&who=lora&max_tokens=0", "application/x-www-form-urlencoded", 400, "give a whole number from 1"),
        (b"input=+&who=lora", "application/x-www-form-urlencoded", 400, "there is no input"),
        (b"input=x", "application/x-www-form-urlencoded", 400, "nobody is asked"),
        (b"input=x&who=1&who=2&who=3&who=4&who=5&who=6", "application/x-www-form-urlencoded", 400, "at most 5"),
    ],
)
def test_broken_forms_are_told(writing, body, kind, status, match):
    headers = {"origin": writing[0], "content-type": kind}
    plain = post(f"{writing[0]}/pages/playground/sides", content=body, headers=headers | {"hx-request": "true"})
    assert plain.status_code == status and match in plain.text and "<" not in plain.text
    page = post(f"{writing[0]}/pages/playground/sides", content=body, headers=headers)
    assert page.status_code == status and match in Page(page.text).words


def test_without_a_session_every_page_leads_to_where_it_begins(locked):
    url, _ = locked
    for path in (*PATHS, "/sign-out", "/assets", "/sign-in/"):
        answer = browse(url, path)
        assert (answer.status_code, answer.headers.get("location")) == (303, SIGN_IN), path
    part = browse(url, "/status/figures", headers={"hx-request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (401, SIGN_IN)
    assert browse(url, "/assets/pages.css").status_code == 200
    page = Page(browse(url, "/sign-in").text)
    assert page.all("input", type="password") and "Sign out" not in page.words
    forged = {"cookie": "foreword_session=forged"}
    assert browse(url, "/status", headers=forged).status_code == 303
    assert browse(url, "/status", headers={"authorization": f"Bearer {KEYS[1]}"}).status_code == 200


def test_a_session_opens_the_pages_and_nothing_else_until_it_ends(locked):
    url, _ = locked
    for wrong in ("", "wrong", KEYS[0] + "x", "\u00e9"):
        answer = send(url, "/sign-in", {"key": wrong})
        assert answer.status_code == 401 and "set-cookie" not in answer.headers
        assert Page(answer.text).all("p", role="alert")
    answer = send(url, "/sign-in", {"key": f" {KEYS[1]} "})
    assert (answer.status_code, answer.headers["location"]) == (303, "/pages/playground")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/pages", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert KEYS[1] not in cookie
    own = {"cookie": cookie.partition(";")[0]}
    for path in PATHS[:-1]:
        assert browse(url, path, headers=own).status_code == 200
    assert "Sign out" in browse(url, "/status", headers=own).text
    assert get(f"{url}/v1/models", headers=own).status_code == 401
    assert get(f"{url}/metrics", headers=own).status_code == 401
    assert send(url, "/sign-out", headers=own).status_code == 303
    assert browse(url, "/status", headers=own).status_code == 303


def test_a_cookie_is_sent_over_https_alone_where_there_is_https(locked):
    headers = {"x-forwarded-proto": "https"}  # as a proxy on this machine says
    assert "Secure" in send(locked[0], "/sign-in", {"key": KEYS[0]}, headers).headers["set-cookie"]


def test_sessions_end_by_themselves_and_are_bounded(monkeypatch):
    from foreword.serving.pages import access

    now = 1000.0
    monkeypatch.setattr(access, "monotonic", lambda: now)
    monkeypatch.setattr(access, "SESSIONS", 3)
    doors = Access(["key"])

    def open_(token):
        return doors.admits("/pages/status", {b"cookie": f"foreword_session={token}".encode()})

    tokens = [doors.sign_in("key") for _ in range(4)]
    assert [open_(token) for token in tokens] == [False, True, True, True]
    now += access.SECONDS + 1
    assert not any(open_(token) for token in tokens)
    assert not doors.admits("/v1/models", {b"cookie": f"foreword_session={doors.sign_in('key')}".encode()})
    assert doors.sign_in("\udcff") is None


def test_nothing_that_was_asked_is_logged(writing, caplog, monkeypatch):
    url, service = writing
    secret = "se" + "cret"  # in two pieces: a log shows the lines of the program

    async def broken(model, inputs):
        raise RuntimeError(inputs[0])

    monkeypatch.setattr(service, "classify", broken)
    answer = send(url, "/playground", {"input": f"a {secret} word", "who": "judge"})
    assert "the server failed" in answer.text and caplog.records
    assert all(secret not in record.getMessage() for record in caplog.records)


def test_the_server_without_keys_has_nothing_to_sign_in_to(writing):
    answer = browse(writing[0], "/sign-in")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pages/playground")
    assert isinstance(answer, httpx.Response) and "Sign out" not in browse(writing[0], "/status").text
