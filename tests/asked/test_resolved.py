"""What is asked becomes what is run: nothing is open any more, and asking the same again gives the same."""

from __future__ import annotations

from studio.asked.fields import ImageToImage, Inpaint, TextToImage
from studio.asked.resolved import Suits, resolve

SUITS = Suits(width=128, height=64)


def test_open_fields_are_decided() -> None:
    seeds = iter((7, 40))
    run = resolve(
        TextToImage(prompt="a", num_images_per_prompt=3, variation_strength=0.2), SUITS, random_seed=lambda: next(seeds)
    )
    assert (run.width, run.height, run.noise_schedule) == (128, 64, "karras")
    assert (run.seeds, run.variation_seeds) == ((7, 7, 7), (40, 41, 42))
    assert (run.strength, run.steps, run.second_pass) == (1.0, 25, None)
    assert resolve(TextToImage(prompt="a", seed=5, num_images_per_prompt=2), SUITS).seeds == (5, 6)
    again = resolve(run.of_image(1).request, SUITS)
    assert (again.seeds, again.variation_seeds, again.size) == ((7,), (41,), run.size)


def test_the_steps_that_run() -> None:
    request = ImageToImage(prompt="a", image=b"x", strength=0.3, num_inference_steps=20)
    run = resolve(request, SUITS, size=(80, 96))
    assert (run.size, run.steps, run.num_inference_steps) == ((80, 96), 6, 20)
    assert (run.request.width, run.request.height) == (80, 96)


def test_a_masked_run_keeps_the_size_that_was_asked_for() -> None:
    run = resolve(Inpaint(prompt="a", image=b"x", mask=b"y"), SUITS, size=(512, 512))
    assert (run.size, run.request.width) == ((512, 512), None)


def test_the_second_pass_is_a_run_from_a_picture() -> None:
    request = TextToImage(prompt="a", hires_scale=1.5, hires_steps=10, hires_strength=0.45, scheduler="heun", seed=3)
    run = resolve(request, SUITS)
    second = run.second_pass
    assert second is not None
    assert (second.size, second.num_inference_steps, second.steps) == ((192, 96), 10, 4)
    assert (second.scheduler, second.seeds, second.second_pass) == ("heun", (3,), None)
    assert run.largest == second
