"""The page's modules joined into one, and how the result is sent."""

from __future__ import annotations

import gzip

import brotli
import pytest

from studio.ui import assets
from studio.ui.bundle import BundleError, bundle


def test_a_module_stands_after_those_it_imports_and_once() -> None:
    files = {
        "page.js": 'import { b as second } from "./room/b.js";\nimport { a } from "./a.js";\nexport const c = a + 1;\n',
        "a.js": "export const a = 1;\n",
        "room/b.js": 'import { a } from "../a.js";\nexport function b() {\n  return a;\n}\n',
    }
    joined = bundle("page.js", files.__getitem__)
    assert [line[3:] for line in joined.splitlines() if line.startswith("// ")] == ["a.js", "room/b.js", "page.js"]
    assert "const { b: second } = $room_b;" in joined
    assert joined.rstrip().endswith("export const { c } = $page;")
    assert 'export const modules = { "a.js": $a, "room/b.js": $room_b, "page.js": $page };' in joined


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"page.js": 'import { a } from "./a.js";\n', "a.js": 'import { b } from "./page.js";\n'}, "circle"),
        (
            {"page.js": 'import { b } from "./a.js";\n', "a.js": "export const a = 1;\n"},
            "b, which a.js does not export",
        ),
        ({"page.js": 'import * as a from "./a.js";\n', "a.js": ""}, "cannot join"),
        ({"page.js": "export default 1;\n"}, "cannot join"),
        ({"page.js": "export let a = 1;\n"}, "cannot join"),
    ],
)
def test_what_would_not_mean_the_same_is_refused(files: dict[str, str], reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        bundle("page.js", files.__getitem__)


def test_the_smallest_encoding_that_a_browser_takes_is_sent() -> None:
    script = assets.script()
    by_brotli, name = script.encode("gzip, deflate, br")
    assert (name, brotli.decompress(by_brotli)) == ("br", script.content)
    by_gzip, name = script.encode("gzip, br;q=0")
    assert (name, gzip.decompress(by_gzip)) == ("gzip", script.content)
    assert script.encode("identity") == (script.content, None)
    assert script.encode("") == (script.content, None)
    assert len(by_brotli) < len(by_gzip) < len(script.content) / 3


def test_an_asset_is_served_under_the_name_of_its_content_only() -> None:
    assert assets.by_name(assets.script().name) is assets.script()
    assert assets.by_name(assets.styles().name) is assets.styles()
    assert assets.by_name("page.0000000000000000.js") is None
    assert assets.by_name("page.js") is None
