"""The studio's own addresses give a picture, a thumbnail or a record to its owner, and 404 to everybody else."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.types import ASGIApp

from studio.answered.engine import Refused
from studio.answered.events import JobSummary, Preview, Started, Step
from studio.asked.fields import TextToImage
from studio.asked.problems import MAX_IMAGE_BYTES
from studio.asked.questions import LossCurve
from studio.asked.resolved import Suits, resolve
from studio.picture.gallery import Gallery
from studio.picture.infotext import parameters_text
from studio.picture.metadata import picture_info
from studio.ui import assets
from studio.web.owner import COOKIE, HEADER, Owner
from studio.web.routes import Routes
from tests.export.test_files import recording
from tests.picture.test_live_pictures import live
from tests.web.asgi import Page, Records, Visitor, call

SECRET = b"the canary sings"


@dataclass
class Studio:
    app: ASGIApp
    page: Page
    gallery: Gallery
    records: Records
    static: Path
    ann: Visitor
    bob: Visitor

    def picture(self, visitor: Visitor) -> tuple[str, bytes]:
        """A picture of this visitor's: its id and its bytes."""
        info = picture_info(resolve(TextToImage(prompt="x", seed=3), Suits()), width=64, height=64)
        image, text = Image.new("RGB", (600, 300), "teal"), parameters_text(info)
        saved = self.gallery.save(image, info=info, parameters=text, owner=visitor.cookies[COOKIE])
        return saved.id, (self.gallery.outputs_dir / saved.file_name).read_bytes()


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return build(tmp_path)


def build(folder: Path) -> Studio:
    static = folder / "ui" / "static"
    (static / "viewer").mkdir(parents=True)
    (static / "studio.css").write_text("body { margin: 0 }")
    (static / "viewer" / "panes.js").write_text("export const x = 1")
    (static / "notes.txt").write_bytes(SECRET)
    (static / "secret").write_bytes(SECRET)
    (folder / "ui" / "text.js").write_bytes(SECRET)
    (folder / "secret.js").write_bytes(SECRET)
    page, gallery, records = Page(), Gallery(folder / "outputs"), Records()
    app = Owner(
        Routes(page, engine=records, gallery=gallery, static_dir=static, replay_page=lambda data, run, answers: data)
    )  # type: ignore[arg-type]
    ann, bob = Visitor(app), Visitor(app)
    ann("/"), bob("/")
    page.reached.clear()
    return Studio(app, page, gallery, records, static, ann, bob)


# ------------------------------------------------------------------------------------------- pictures, thumbnails


def test_a_picture_is_served_as_it_was_saved(studio: Studio) -> None:
    picture_id, saved = studio.picture(studio.ann)
    answer = studio.ann(f"/picture/{picture_id}")
    assert (answer.status, answer.body) == (200, saved)
    assert answer.header("content-type") == "image/png"
    assert answer.header("content-disposition") == 'inline; filename="00001-3.png"'
    assert answer.header("cache-control") == "private, max-age=31536000, immutable"
    answer = studio.ann(f"/picture/{picture_id}", query="download=1")
    assert answer.header("content-disposition") == 'attachment; filename="00001-3.png"'
    assert answer.body == saved
    answer = studio.ann(f"/picture/{picture_id}", method="HEAD")
    assert (answer.status, answer.body, answer.header("content-length")) == (200, b"", str(len(saved)))


def test_a_thumbnail_is_a_small_jpeg(studio: Studio) -> None:
    picture_id, _ = studio.picture(studio.ann)
    answer = studio.ann(f"/thumbnail/{picture_id}")
    assert (answer.status, answer.header("content-type")) == (200, "image/jpeg")
    with Image.open(io.BytesIO(answer.body)) as image:
        assert image.size == (256, 128)


def test_a_record_is_served_with_its_numbers(studio: Studio) -> None:
    studio.records.owners["job"] = studio.ann.cookies[COOKIE]
    answer = studio.ann("/record/job", query="image=2&since=7")
    assert (answer.status, answer.body) == (200, b"image 2 since 7")
    assert answer.header("content-type") == "application/octet-stream"
    assert answer.header("cache-control") == "no-store"
    assert studio.ann("/record/job").body == b"image 0 since 0"
    assert studio.ann("/record/job", query="since=3&until=4").body == b"image 0 since 3 until 4"
    assert studio.ann("/record/job", query="lean=1").body == b"image 0 since 0 lean"


@pytest.mark.parametrize(("state", "status"), [("queued", 204), ("running", 204), ("stopped", 404)])
def test_a_record_that_has_not_begun_is_no_error(studio: Studio, state: Any, status: int) -> None:
    studio.records.owners["job"] = studio.ann.cookies[COOKIE]
    studio.records.without_record.add("job")
    studio.records.known.append(
        JobSummary(job_id="job", request=TextToImage(prompt="a fox"), state=state, origin="noise_viewer")
    )
    assert (studio.ann("/record/job").status, studio.bob("/record/job").status) == (status, 404)


@pytest.mark.parametrize(
    "query",
    [
        "image=-1",
        "until=-1",
        "lean=yes",
        "since=x",
        "since=1.5",
        "image=",
        "since=99999999",
        "image=%C2%B2",
        "image=1_0",
    ],
)
def test_a_record_says_which_number_was_wrong(studio: Studio, query: str) -> None:
    studio.records.owners["job"] = studio.ann.cookies[COOKIE]
    answer = studio.ann("/record/job", query=query)
    assert answer.status == 400
    assert answer.body.decode().startswith(query.partition("=")[0])


def test_a_map_is_made_of_a_picture_that_is_sent(studio: Studio) -> None:
    file = io.BytesIO()
    picture = Image.new("RGB", (1024, 256), "black")
    picture.paste("white", (512, 0, 1024, 256))
    picture.save(file, "PNG")
    answer = studio.ann("/ask/control-map", query="preprocessor=canny", method="POST", body=file.getvalue())
    assert (answer.status, answer.header("content-type")) == (200, "image/png")
    with Image.open(io.BytesIO(answer.body)) as shown:
        assert shown.size == (512, 128)
        assert {shown.getpixel((x, 64)) for x in range(512)} == {(0, 0, 0), (255, 255, 255)}
    refused = studio.ann("/ask/control-map", query="preprocessor=depth", method="POST", body=file.getvalue())
    assert (refused.status, b"Canny edges (canny)" in refused.body) == (400, True)
    assert studio.ann("/ask/control-map", method="POST", body=b"%PDF").status == 400


def test_a_question_is_asked_with_a_picture_sent_or_named(studio: Studio) -> None:
    picture, saved = studio.picture(studio.ann)
    answer = studio.ann("/ask/losses", query=f"checkpoint=tiny&caption=a+fox&points=5&picture={picture}")
    assert (answer.status, answer.body, answer.header("cache-control")) == (200, b"{}", "no-store")
    answer = studio.ann("/ask/vae", query="checkpoint=tiny", method="POST", body=b"a file")
    assert answer.status == 200
    (named, owner), (sent, _) = studio.records.asked
    assert isinstance(named, LossCurve)
    assert (named.caption, named.points, named.image, owner) == ("a fox", 5, saved, studio.ann.cookies[COOKIE])
    assert (sent.name, sent.image) == ("vae", b"a file")
    assert studio.bob("/ask/vae", query=f"checkpoint=tiny&picture={picture}").status == 404
    assert len(studio.records.asked) == 2


def test_a_job_is_stopped_by_its_owner_alone_and_by_no_link(studio: Studio) -> None:
    studio.records.owners["job"] = studio.ann.cookies[COOKIE]
    assert studio.bob("/stop/job", method="POST").status == 404
    assert studio.ann("/stop/other", method="POST").status == 404
    assert studio.ann("/stop/job").status == 405
    assert studio.records.stopped == []
    assert studio.ann("/stop/job", method="POST").status == 204
    assert studio.records.stopped == ["job"]


def test_a_run_is_begun_again_with_another_number_by_its_owner_alone(studio: Studio) -> None:
    studio.records.owners["job"] = studio.ann.cookies[COOKIE]
    fox = TextToImage(prompt="a fox", seed=7)
    studio.records.known = [JobSummary(job_id="job", request=fox, state="running", origin="text_to_image")]
    assert studio.bob("/again/job", query="guidance_scale=3", method="POST").status == 404
    assert studio.ann("/again/job", query="guidance_scale=3").status == 405, "a link does not start anything"
    refused = studio.ann("/again/job", query="guidance_scale=99", method="POST")
    assert (refused.status, refused.body.startswith(b"guidance_scale: ")) == (400, True)
    studio.records.refusal = Refused("Later.")
    assert studio.ann("/again/job", query="guidance_scale=3", method="POST").status == 409
    studio.records.refusal, studio.records.stopped = None, []
    assert studio.ann("/again/job", query="guidance_scale=3", method="POST").status == 204, "no frame yet"
    assert studio.records.stopped == ["job"]
    assert studio.records.known[0].request == replace(fox, guidance_scale=3.0)


def test_a_run_that_is_begun_again_answers_with_its_first_frame(studio: Studio) -> None:
    studio.records.owners["job"] = studio.ann.cookies[COOKIE]
    studio.records.known = [
        JobSummary(
            job_id="job",
            request=TextToImage(prompt="a fox", seed=7),
            state="running",
            origin="text_to_image",
        )
    ]
    started = Started(
        job_id="new", seeds=(7,), width=64, height=32, total=9, prompt_tokens=2, negative_prompt_tokens=0, chunks=1
    )
    step = Step(
        job_id="new", image=0, index=0, total=9, timestep=999.0, sigma=14.0, seconds_per_step=0.1, seconds_left=0.9,
        images_done=0,
    )  # fmt: skip
    drawn = Preview(jpeg=b"frame", width=64, height=32, decoder="fast")
    studio.records.events = [started, step, replace(step, index=1, preview=drawn), replace(step, index=2)]
    view = studio.ann("/again/job", query="guidance_scale=3", method="POST").json()
    assert (view["job"], view["state"], view["live"], view["step"]["index"]) == ("new", "running", True, 1)
    assert view["previews"] == ["data:image/jpeg;base64,ZnJhbWU="]
    assert (view["width"], view["height"], view["total"]) == (64, 32, 9)


def test_a_live_picture_is_saved_by_its_owner_alone_and_by_taking_it_away(studio: Studio) -> None:
    ann, gallery = studio.ann.cookies[COOKIE], studio.gallery
    kept, taken = live(gallery, ann, job="here-1"), live(gallery, ann, job="here-2")
    assert studio.bob(f"/keep/{kept.id}", method="POST").status == 404
    assert studio.ann(f"/keep/{kept.id}").status == 405, "a link saves nothing"
    assert studio.ann(f"/picture/{kept.id}").status == studio.ann(f"/thumbnail/{kept.id}").status == 200
    assert gallery.files(ann) == []
    for _ in range(2):
        assert studio.ann(f"/keep/{kept.id}", method="POST").status == 204
    assert studio.ann(f"/picture/{taken.id}", query="download=1").status == 200
    assert {one.id for one in gallery.files(ann)} == {kept.id, taken.id}


def test_a_branch_is_asked_for_and_its_tree_listed(studio: Studio) -> None:
    studio.records.owners["job"] = studio.ann.cookies[COOKIE]
    answer = studio.ann("/branch/job", query="image=1&evaluation=3&guidance_scale=2", method="POST")
    assert answer.json() == {"job_id": "job 1 3 {'guidance_scale': 2.0} noise_viewer"}
    [node] = studio.ann("/branches/job").json()
    assert (node["job_id"], node["parent"], node["state"]) == ("job", None, "finished")
    assert studio.ann("/branch/job", query="evaluation=3").status == 405, "a link does not start anything"
    for query in ("image=x&evaluation=3", "image=0", "evaluation=-1"):
        assert studio.ann("/branch/job", query=query, method="POST").status == 400
    for visitor, address in ((studio.bob, "job"), (studio.ann, "other")):
        assert visitor(f"/branch/{address}", query="evaluation=3", method="POST").status == 404
        assert visitor(f"/branches/{address}").status == 404
    studio.records.refusal = Refused("Later.")
    assert studio.ann("/branch/job", query="evaluation=3", method="POST").status == 409


def test_an_export_is_a_file_of_ones_own_recording(studio: Studio) -> None:
    studio.records.owners["job"] = studio.ann.cookies[COOKIE]
    studio.records.recording = recording()
    for kind, media in (("csv", "text/csv"), ("html", "text/html")):  # the page is what the studio was given for it
        answer = studio.ann("/export/job", query=f"kind={kind}")
        assert answer.status == 200
        assert str(answer.header("content-type")).startswith(media)
        assert answer.header("content-disposition") == f'attachment; filename="latent-studio-5.{kind}"'
    assert studio.bob("/export/job", query="kind=csv").status == 404
    for query in ("kind=exe", "", "kind=csv&image=x", "kind=gif&fps=0"):
        assert studio.ann("/export/job", query=query).status == 400


def test_a_question_that_cannot_be_answered_says_why(studio: Studio) -> None:
    refused = studio.ann("/ask/losses", query="checkpoint=tiny&points=99&colour=red")
    assert refused.status == 400
    for name in ("points", "colour", "image"):
        assert f"{name}: " in refused.body.decode()
    assert studio.ann("/ask/everything", query="checkpoint=tiny").status == 400
    large = b"x" * (MAX_IMAGE_BYTES + 1)
    assert studio.ann("/ask/vae", query="checkpoint=tiny", method="POST", body=large).status == 400
    assert not studio.records.asked
    studio.records.refusal = Refused("Later.")
    answer = studio.ann("/ask/schedule", query="checkpoint=tiny")
    assert (answer.status, answer.body) == (409, b"Later.")


@pytest.mark.parametrize("address", ["/picture/{picture}", "/thumbnail/{picture}", "/record/{job}"])
def test_nobody_else_gets_them_nor_learns_that_they_exist(studio: Studio, address: str) -> None:
    picture, _ = studio.picture(studio.ann)
    studio.records.owners["job"] = hers = studio.ann.cookies[COOKIE]
    path = address.format(picture=picture, job="job")
    assert studio.ann(path).status == 200
    refused = [
        studio.bob(path),
        call(studio.app, path),
        call(studio.app, path, headers=[(HEADER, hers)]),
        call(studio.app, path, headers=[("cookie", f"{COOKIE}={hers[:-1]}")]),
        studio.bob(path, query=f"owner={hers}"),
    ]
    nothing = studio.bob(address.format(picture="0" * 32, job="absent"))
    for answer in refused:
        assert (answer.status, answer.body) == (404, nothing.body)
        assert answer.header("cache-control") == "no-store"


@pytest.mark.parametrize("path", ["/picture/x", "/thumbnail/x", "/record/x", "/studio-static/studio.css"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_of_ours_can_be_written(studio: Studio, path: str, method: str) -> None:
    assert studio.ann(path, method=method).status == 405
    assert studio.page.reached == []


@pytest.mark.parametrize(
    "path", ["/", "/picture", "/picture/", "/pictures/x", "/config", "/record/x/y", "/picture/x/y"]
)
def test_everything_else_is_the_pages(studio: Studio, path: str) -> None:
    assert studio.ann(path).json()["path"] == path


# --------------------------------------------------------------------------------------------------- static files


@pytest.mark.parametrize(("name", "kind"), [("studio.css", "text/css"), ("viewer/panes.js", "text/javascript")])
def test_static_files_have_a_type_and_an_etag(studio: Studio, name: str, kind: str) -> None:
    answer = call(studio.app, f"/studio-static/{name}")
    assert (answer.status, answer.body) == (200, (studio.static / name).read_bytes())
    assert answer.header("content-type") == f"{kind}; charset=utf-8"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("cache-control") == "no-cache"
    etag = answer.header("etag") or ""
    again = call(studio.app, f"/studio-static/{name}", headers=[("if-none-match", f'W/"old", {etag}')])
    assert (again.status, again.body, again.header("etag")) == (304, b"", etag)
    (studio.static / name).write_text("changed")
    changed = call(studio.app, f"/studio-static/{name}", headers=[("if-none-match", etag)])
    assert (changed.status, changed.body) == (200, b"changed")


@pytest.mark.parametrize("asset", [assets.script(), assets.styles()], ids=lambda asset: asset.media_type)
def test_the_pages_script_and_style_sheet_are_compressed_and_kept_for_good(studio: Studio, asset: assets.Asset) -> None:
    answer = call(studio.app, asset.address, headers=[("accept-encoding", "gzip")])
    assert (answer.status, gzip.decompress(answer.body)) == (200, asset.content)
    assert answer.header("content-encoding") == "gzip"
    assert answer.header("content-type") == asset.media_type
    assert answer.header("cache-control") == "public, max-age=31536000, immutable"
    assert answer.header("vary") == "accept-encoding"
    plain = call(studio.app, asset.address)
    assert (plain.body, plain.header("content-encoding")) == (asset.content, None)
    assert call(studio.app, asset.address.replace("page.", "page.0")).status == 404


@pytest.mark.parametrize("name", ["absent.js", "notes.txt", "secret", "viewer", "viewer/", "", "STUDIO.CSS/", ".css"])
def test_only_the_pages_own_kinds_of_file_are_served(studio: Studio, name: str) -> None:
    assert call(studio.app, f"/studio-static/{name}").status == 404


# ------------------------------------------------------------------------------------------------ paths that climb

PARTS = st.sampled_from(
    ["..", ".", "", "/", "\\", "%2e%2e", "%2f", "%5c", "..\\", "ui", "static", "viewer", "text.js", "secret.js",
     "secret", "notes.txt", "studio.css", "index.jsonl", "CON", "nul.js", "C:", "file.js::$DATA", "~", "\0", "\n", "…",
     "．．", "etc", "passwd", "outputs", "2026-11-22", "00001-3.png"]
)  # fmt: skip
CLIMBS = st.lists(PARTS | st.text(max_size=8), min_size=1, max_size=8).map("/".join) | st.text(max_size=60)


@settings(max_examples=400, deadline=None)
@given(address=st.sampled_from(["/picture/", "/thumbnail/", "/record/", "/studio-static/"]), rest=CLIMBS)
@example("/studio-static/", "../text.js")
@example("/studio-static/", "..%2ftext.js")
@example("/studio-static/", "..\\text.js")
@example("/studio-static/", "viewer/../../text.js")
@example("/studio-static/", "viewer/..//../../secret.js")
@example("/studio-static/", "//etc/passwd")
@example("/picture/", "../../ui/text.js")
@example("/picture/", "2026-11-22%2F00001-3.png")
@example("/thumbnail/", "..")
@example("/record/", "../picture")
def test_no_path_climbs_out(climber: Studio, address: str, rest: str) -> None:
    climb(climber, address, rest)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(address=st.sampled_from(["/picture/", "/thumbnail/", "/record/", "/studio-static/"]), rest=CLIMBS)
def test_no_path_climbs_out_in_ten_thousand_tries(climber: Studio, address: str, rest: str) -> None:
    climb(climber, address, rest)


def climb(climber: Studio, address: str, rest: str) -> None:
    climber.page.reached.clear()
    answer = climber.ann(address + rest)
    assert SECRET not in answer.body
    assert b"root:" not in answer.body
    served = answer.status == 200 and not climber.page.reached
    assert not served or (address == "/studio-static/" and rest in ("studio.css", "viewer/panes.js"))
    assert answer.status in (200, 400, 404)


@pytest.fixture(scope="module")
def climber(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    built = build(tmp_path_factory.mktemp("climber"))
    built.picture(built.ann)
    return built


def test_a_static_file_that_is_a_link_out_of_the_folder_is_not_served(studio: Studio) -> None:
    (studio.static / "link.js").symlink_to(studio.static.parent / "text.js")
    assert call(studio.app, "/studio-static/link.js").status == 404
