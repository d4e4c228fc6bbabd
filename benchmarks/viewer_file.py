"""The viewer's file: its size, and the times to open it and to compute weights in the page.

    python benchmarks/viewer_file.py file [--lengths 1024 8192 32768] [--precision half]
    python benchmarks/viewer_file.py look [--lengths 8192 32768]

``file``: for each length, one causal head of random queries and keys of 64 numbers is saved as a page. Printed are the
megabytes of the page; the seconds to write it; in headless Chromium, the milliseconds from opening the page to the
first tiles of the map, those of an exact tile of 256 × 256 weights and of a row (medians of 9), with what is kept of
decoded numbers; and the largest difference of a tile's weights from the kernel's.

``look``: a small model with the layout of Llama (2 layers, 4 heads of 64, random weights) in a folder, and the
seconds of ``regard look hf:FOLDER TEXT --html FILE --layer -1 --head 0``: until the page is written, and until its
first picture in Chromium.

The tables are printed, for ``benchmarks/results/viewer_file.txt``.
"""

from __future__ import annotations

import argparse
import statistics
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import chromium
from regard import Causal, attention
from regard.viewer.page import bundled
from regard.views import STATISTICS, ModelView
from regard.views.document import document_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REPEATS = 9
READY = "() => document.querySelector('.regard-what')?.textContent.startsWith('Each cell')"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["file", "look"])
    parser.add_argument("--lengths", type=int, nargs="+")
    parser.add_argument("--precision", default="half")
    arguments = parser.parse_args()
    print(machine())
    with chromium() as browser:
        print(f"Chromium {browser.version}")
        if arguments.table == "file":
            print(f"{'':>8}{'file':>10}{'write':>9}{'picture':>11}{'tile':>10}{'row':>10}{'difference':>12}")
            for length in arguments.lengths or (1024, 8192, 32768):
                file(browser, length, arguments.precision)
        else:
            print(f"{'':>8}{'file':>10}{'written':>10}{'picture':>11}")
            for length in arguments.lengths or (8192, 32768):
                look(browser, length)


def file(browser: Browser, length: int, precision: Any) -> None:
    """A line of the first table."""
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 1, length, 64, generator=generator) for _ in range(2))
    view = attention(query, key, key, mask=Causal(), look=STATISTICS)[1]
    shown = ModelView({("layers.0.self_attn", 0): view}, [f"▁token{at % 1000}" for at in range(length)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "view.html"
        began = time.perf_counter()
        shown.save(path, heads=[0], precision=precision)
        write, size = time.perf_counter() - began, path.stat().st_size / 1e6
        picture = statistics.median(opened(browser, path) for _ in range(3))
        document = document_of(shown, heads=[0], precision=precision).to_bytes()
        tile, row, values = computed(browser, document, Path(folder), length)
    last = slice(length - 256, length)
    difference = (view.tile(last, last)[0, 0].flatten() - torch.tensor(values)).abs().max().item()
    print(
        f"{length:>8,}{size:>7.2f} MB{write:>7.2f} s{1000 * picture:>8.0f} ms{tile:>7.1f} ms{row:>7.1f} ms"
        f"{difference:>12.0e}", flush=True,
    )  # fmt: skip


def opened(browser: Browser, path: Path) -> float:
    """Seconds from opening a page to its first picture."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    began = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_function(READY, polling="raf", timeout=300_000)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    seconds = time.perf_counter() - began
    page.close()
    return seconds


def computed(browser: Browser, document: bytes, folder: Path, length: int) -> tuple[float, float, list[float]]:
    """Milliseconds of a tile of 256 × 256 weights and of a row, and the tile of the last queries and keys."""
    (folder / "document").write_bytes(document)
    page = browser.new_page()
    page.set_content("<input type=file>")
    page.set_input_files("input", folder / "document")
    code = f"{bundled('file.js')}\nglobalThis.openDocument = openDocument;"
    page.evaluate(f"(async () => {{ {code} }})()")
    tile, row, values = page.evaluate(
        """async ([length, repeats]) => {
          const source = openDocument(await document.querySelector("input").files[0].arrayBuffer());
          const window = { q0: length - 256, q1: length, k0: length - 256, k1: length };
          const timed = async (call) => {
            await call();
            const times = [];
            for (let at = 0; at < repeats; at++) {
              const began = performance.now();
              await call(at);
              times.push(performance.now() - began);
            }
            return times.sort((a, b) => a - b)[repeats >> 1];
          };
          const tile = await timed(() => source.tile(0, 0, window, 256, 256, "mean"));
          const row = await timed(() => source.row(0, 0, length - 1));
          return [tile, row, [...(await source.tile(0, 0, window, 256, 256, "mean")).values]];
        }""",
        [length, REPEATS],
    )
    page.close()
    return tile, row, values


def look(browser: Browser, length: int) -> None:
    """A line of the second table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = _model(folder / "model", length)
        command = [sys.executable, "-m", "regard", "look", f"hf:{folder / 'model'}", "--layer", "-1", "--head", "0"]
        began = time.perf_counter()
        subprocess.run(
            [*command, "--html", str(folder / "view.html"), "--", text], check=True, stdout=subprocess.DEVNULL
        )
        written = time.perf_counter() - began
        picture = written + opened(browser, folder / "view.html")
        size = (folder / "view.html").stat().st_size / 1e6
        print(f"{length:>8,}{size:>7.2f} MB{written:>8.1f} s{picture:>9.1f} s", flush=True)


def _model(folder: Path, length: int) -> str:
    """Save a model and its tokenizer; returns a text of ``length`` tokens."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = [*string.ascii_letters, *string.digits]  # short: an argument of a command has at most 128 KB
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="a").save_pretrained(folder)
    torch.manual_seed(0)
    transformers.LlamaModel(
        transformers.LlamaConfig(
            hidden_size=256, intermediate_size=704, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=len(words), max_position_embeddings=length,
        )
    ).save_pretrained(folder)  # fmt: skip
    return " ".join(words[at] for at in torch.randint(0, len(words), (length,)).tolist())


if __name__ == "__main__":
    main()
