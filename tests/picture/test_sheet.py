"""The sheet of a comparison: everything in one file, from which the comparison can be made again; and its timings."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from PIL import Image

from studio.answered.events import CellEvent, Failed, Finished, Picture
from studio.asked.compare import Comparison
from studio.asked.fields import TextToImage
from studio.asked.resolved import Suits, resolve
from studio.picture import sheet
from studio.picture.gallery import Gallery
from studio.picture.infotext import parameters_text, parse_parameters
from studio.picture.metadata import own_info, picture_info


def comparison(**given: object) -> Comparison:
    plain = {"prompt": "a fox, small", "x": "prompt", "x_values": "fox, owl", "y": "guidance_scale", "y_values": "1, 5"}
    return Comparison.parse(plain | {"seed": 3} | given)


def finished(gallery: Gallery, request: TextToImage, colour: str) -> Picture:
    info = picture_info(resolve(request, Suits()), width=96, height=64, evaluations=25, seconds=1.5)
    picture = Image.new("RGB", (96, 64), colour)
    return gallery.save(picture, info=info, parameters=parameters_text(info), owner="anna", part_of="job")


def test_a_sheet_shows_every_cell_and_reads_back_equal(tmp_path: Path) -> None:
    gallery, asked = Gallery(tmp_path), comparison()
    colours = ["red", "lime", "blue"]
    cells = {}
    for index, colour in enumerate(colours):
        request = asked.request(index)
        assert request is not None
        picture = finished(gallery, request, colour)
        cells[index] = sheet.CellResult(picture=picture, file=gallery.path(picture.id, "anna"))
    cells[3] = sheet.CellResult(message="The device ran out of memory.")
    data = sheet.png(asked, cells, {"prompt": "Words", "guidance_scale": "Guidance"})
    assert sheet.read(data) == asked
    with Image.open(io.BytesIO(data)) as made:
        assert made.width > 2 * 96
        assert made.height > 2 * 64
        counted = {colour: count for count, colour in made.convert("RGB").getcolors(2**20)}
        for rgb in ((255, 0, 0), (0, 255, 0), (0, 0, 255)):
            assert counted[rgb] == 96 * 64  # whole, and not scaled
        _, _, pairs = parse_parameters(made.text["parameters"])
    assert (pairs["Script"], pairs["X Type"], pairs["X Values"]) == ("X/Y/Z plot", "Prompt S/R", "fox, owl")
    assert (pairs["Y Type"], pairs["Y Values"]) == ("CFG Scale", "1, 5")


def test_the_remarks_on_the_prompts_of_all_cells_stand_in_the_sheet() -> None:
    asked = comparison(prompt="a ${fox} cat", negative_prompt="{x}", x_values="fox, owl")
    data = sheet.png(asked, {}, {})
    remarks = (own_info(data) or {})["prompt_notes"]
    assert isinstance(remarks, list)
    assert len(remarks) == 3
    assert sum(remark.startswith("In the negative prompt, ") for remark in remarks) == 1
    assert sheet.read(data) == asked
    assert "prompt_notes" not in (own_info(sheet.png(comparison(), {}, {})) or {})


def test_many_large_pictures_make_a_sheet_of_bearable_size(tmp_path: Path) -> None:
    asked = comparison(x="seed", x_values="1-72", y="guidance_scale", y_values="1, 2")
    picture = Picture(id="0" * 32, file_name="", width=2048, height=1024, seed=1, info={}, parameters="")
    with Image.open(io.BytesIO(sheet.png(asked, {0: sheet.CellResult(picture=picture)}, {}))) as made:
        assert max(made.size) < sheet.MAX_SIDE + 1000


def test_what_is_no_sheet_is_none(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    picture = finished(gallery, TextToImage(prompt="a fox"), "red")
    path = gallery.path(picture.id, "anna")
    assert path is not None
    assert sheet.read(path.read_bytes()) is None
    assert sheet.read(b"") is None
    assert sheet.read(b"\x89PNG\r\n\x1a\n broken") is None


def test_the_table_has_a_line_for_every_cell_and_no_formula() -> None:
    asked = comparison(prompt="=fox", x_values="=fox, owl", y="num_inference_steps", y_values="5, 60", scheduler="lcm")
    picture = Picture(
        id="0" * 32, file_name="", width=8, height=8, seed=3, info={"evaluations": 5, "seconds": 1.25}, parameters=""
    )
    cells = {
        0: CellEvent(job_id="j", cell=0, event=Finished(job_id="c", pictures=(picture,), seconds=2.0, exact=False)),
        1: CellEvent(job_id="j", cell=1, event=Failed(job_id="c", kind="disk", message="Full.", error_id="1")),
    }
    rows = list(csv.reader(io.StringIO(sheet.timings(asked, cells))))
    assert rows[0] == ["cell", "x_prompt", "y_num_inference_steps", "state", "seed", "evaluations", "seconds", "error"]
    assert rows[1] == ["0", "'=fox", "5", "finished", "3", "5", "1.25", ""]
    assert rows[2] == ["1", "owl", "5", "failed", "", "", "", "Full."]
    assert [row[3] for row in rows[3:]] == ["impossible", "impossible"]
    assert "with LCM whole numbers from 1 to 50" in rows[3][-1]
