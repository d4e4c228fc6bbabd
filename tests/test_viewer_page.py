"""The viewer in one HTML file and in a notebook: what they hold, and that they show exact weights without a network."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from browser import STATIC
from regard import Causal, View, attention
from regard.viewer.answers import Answers
from regard.viewer.document import Axis, Document, Layer
from regard.viewer.notebook import reply
from regard.viewer.page import bundled, page
from regard.views import STATISTICS, ModelView
from regard.views.document import document_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUERY = 25
LOOK = replace(STATISTICS, map=(20, 20))


def _view(length: int = 40) -> ModelView:
    generator = torch.Generator().manual_seed(0)
    query, key = (2 * torch.randn(1, heads, length, 8, generator=generator) for heads in (4, 2))
    seen: dict[tuple[str, int], View] = {
        (f"layers.{at}", 0): attention(query, key, key, mask=Causal(), look=LOOK)[1] for at in range(2)
    }
    return ModelView(seen, [f"▁word{at}" for at in range(length)])


def _shown(page: Page) -> dict[str, float]:
    """The keys of the selected query and their weights, as the table has them."""
    page.locator(".regard-caption", has_text=f"Query {QUERY}").wait_for(timeout=10_000)
    rows = page.locator(".regard-table tbody tr").all()
    return {row.locator("button").inner_text(): float(row.locator("td").last.inner_text()) for row in rows}


def _strongest(view: ModelView, count: int) -> dict[str, float]:
    weights = view.layers[1].view.tile([QUERY])[2, 0]
    top = weights.topk(count)
    return {f"word{at}": float(weights[at]) for at in top.indices.tolist()}


def test_the_file_shows_the_map_and_exact_rows_without_a_network(browser: Browser, tmp_path: Path) -> None:
    view, path, heard = _view(), tmp_path / "view.html", list[str]()
    view.save(path, precision="single")
    context = browser.new_context()
    context.set_offline(True)
    opened = context.new_page()
    opened.on("request", lambda request: heard.append(request.url))
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text))
    opened.goto(f"{path.as_uri()}#layer=1&head=2&query={QUERY}")
    shown = _shown(opened)
    assert shown == pytest.approx(_strongest(view, len(shown)), rel=5e-3, abs=1e-4)
    assert "exact" in opened.locator(".regard-caption").inner_text()
    # Above the diagonal the map is of the darkest colour, below it is not.
    canvas = opened.locator(".regard-canvas")
    opened.wait_for_function("() => document.querySelector('.regard-what').textContent.startsWith('Each cell')")
    colours = Counter(
        opened.evaluate(
            """canvas => {
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(width / 4, height / 4, width / 2, height / 2);
              return Array.from({ length: data.length / 400 }, (_, at) => data.slice(400 * at, 400 * at + 3).join());
            }""",
            canvas.element_handle(),
        )
    )
    assert len(colours) > 20
    assert not errors
    # The page's worker runs a script that the page holds itself.
    assert [one for one in heard if not one.startswith("blob:")] == [opened.url.split("#")[0]]
    context.close()


def test_a_page_that_is_asked_for_something_refuses(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "view.html"
    _view().save(path)
    opened = browser.new_page()
    opened.goto(path.as_uri())
    opened.locator(".regard-heading").wait_for()
    refused = opened.evaluate(
        """async () => {
          const refused = [];
          document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
          await fetch("https://example.org").catch(() => null);
          new Image().src = "https://example.org/a.png";
          for (const [tag, text] of [["script", "document.title = 'ran'"], ["style", "main { color: red }"]]) {
            const node = document.createElement(tag);
            node.textContent = text;
            document.body.append(node);
          }
          await new Promise((resolve) => setTimeout(resolve, 100));
          return refused.sort();
        }"""
    )
    assert refused == ["connect-src", "img-src", "script-src-elem", "style-src-elem"]
    assert opened.title() == "Attention"
    opened.close()


def test_texts_of_a_document_cannot_leave_their_place(browser: Browser, tmp_path: Path) -> None:
    bad = "</script><img src=x onerror=document.title='ran'>\u2028"
    axes = [Axis([bad, "b"], pictures=[]), Axis([bad, "</main>"])]
    rows = torch.tensor([[[0.75, 0.25], [0.5, 0.5]]])
    path = tmp_path / "bad.html"
    path.write_text(page(Document(bad, axes, [Layer(bad, (1, 2, 2), 0, 1, {"rows": rows}, why=bad)], [bad])))
    opened = browser.new_page()
    opened.goto(f"{path.as_uri()}#query=0")
    opened.locator(".regard-heading p", has_text="</script>").wait_for()
    opened.locator(".regard-caption", has_text="Query 0").wait_for()
    assert opened.title() == bad
    assert opened.locator("img").count() == 0
    opened.close()


def test_a_page_without_its_content_says_so(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "cut.html"
    text = page(document_of(_view()))
    path.write_text(re.sub(r'(id="document">.{200})[^<]*', r"\1", text))
    opened = browser.new_page()
    opened.goto(path.as_uri())
    opened.get_by_text("This file cannot be shown").wait_for()
    opened.close()


def test_base64_is_read_where_the_browser_has_no_function_for_it(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "view.html"
    _view(150).save(path)
    opened = browser.new_page()
    opened.add_init_script("delete Uint8Array.fromBase64")
    opened.goto(f"{path.as_uri()}#layer=1&head=2&query={QUERY}")
    assert len(_shown(opened)) > 5
    opened.close()


def test_names_of_modules_are_different_so_that_one_script_can_hold_all() -> None:
    declared = r"^(?:export )?(?:async )?(?:function\*?|class|const|let|var) (\[[^\]]*\]|\{[^}]*\}|\w+)"
    names = [
        name
        for path in STATIC.glob("*.js")
        for match in re.findall(declared, path.read_text(), re.MULTILINE)
        for name in re.findall(r"\w+", match)
    ]
    assert len(names) > 100
    assert [name for name, count in Counter(names).items() if count > 1] == []


@pytest.mark.parametrize("entry", ["embedded.js", "notebook.js"])
def test_one_script_has_each_module_after_those_that_it_imports(entry: str) -> None:
    text = bundled(entry)
    assert re.findall(r"^(?:import|export).*", text, re.MULTILINE) == (
        ["export default { render: renderWidget };"] if entry == "notebook.js" else []
    )
    assert text.count("\nfunction render(") == 1
    assert text.index("function element(") < text.index("\nfunction render(")


def test_messages_of_a_notebook_are_answered_in_bytes() -> None:
    view = _view()
    answers = Answers(document_of(view, limit=0), [layer.view for layer in view.layers])
    asked = {"number": 7, "what": "row", "parameters": {"layer": 1, "head": 2, "query": QUERY}}
    message, buffers = reply(answers, asked)
    assert message == {"number": 7, "how": "exact", "rows": 1, "columns": 40}
    np.testing.assert_allclose(np.frombuffer(buffers[0], "<f4"), view.layers[1].view.tile([QUERY])[2, 0], rtol=1e-6)
    message, buffers = reply(answers, asked | {"what": "file"})
    assert (message["number"], buffers) == (7, [])
    assert message["error"].startswith("'file': expected tile, row")


def test_the_widget_of_a_notebook_shows_what_it_is_answered(browser: Browser) -> None:
    view = _view()
    answers = Answers(document_of(view, limit=0, title="A notebook"), [layer.view for layer in view.layers])

    def ask(content: dict[str, Any]) -> tuple[dict[str, Any], str]:
        message, buffers = reply(answers, content)
        return message, base64.b64encode(b"".join(buffers)).decode()

    opened = browser.new_page()
    opened.expose_function("ask", ask)
    opened.set_content("<main></main>")
    opened.evaluate(
        """async ([code, meta]) => {
          const widget = (await import(`data:text/javascript;base64,${code}`)).default;
          const listeners = new Set();
          const model = {
            get: (name) => ({ meta })[name],
            on: (event, listener) => listeners.add(listener),
            off: (event, listener) => listeners.delete(listener),
            send: async (content) => {
              const [message, text] = await ask(content);
              const bytes = Uint8Array.fromBase64(text);
              for (const listener of listeners) listener(message, [new DataView(bytes.buffer)]);
            },
          };
          window.end = widget.render({ model, el: document.querySelector("main") });
          window.listeners = listeners;
        }""",
        [base64.b64encode(bundled("notebook.js").encode()).decode(), json.dumps(answers.meta)],
    )
    opened.get_by_role("button", name="layers.1, head 2", exact=True).click()
    opened.locator("[role=option]").nth(QUERY).click()
    shown = _shown(opened)
    assert shown == pytest.approx(_strongest(view, len(shown)), rel=5e-3, abs=1e-4)
    assert opened.evaluate("end() ?? [listeners.size, document.querySelector('main').children.length]") == [0, 0]
    opened.close()


def test_show_gives_a_widget() -> None:
    pytest.importorskip("anywidget", reason="needs anywidget")
    view = _view()
    shown = view.show(title="Mine")
    assert json.loads(shown.meta)["title"] == "Mine"
    assert json.loads(shown.meta)["layers"][1]["shape"] == [4, 40, 40]
    assert len(json.loads(view.layers[1].show().meta)["layers"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [2]}, "layers: must be from -2 to 1, got 2"),
        ({"heads": [0, -5]}, "heads: must be from -4 to 3, got -5"),
        ({"precision": "double"}, "precision: must be 'half' or 'single', got 'double'"),
    ],
)
def test_wrong_choices_of_a_page_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        _view().save(tmp_path / "a.html", **options)
