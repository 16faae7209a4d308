"""How a run is run: for how long, on what, by how many processes, and how often it shows what it can do.

Nothing of this changes what is learned, but for rounding; what does is in the run's own config.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from training.hardware import CPU, DEVICES, FEEDERS, Hardware, choose_hardware


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What all trainers are given beside their config and their budget."""

    hardware: Hardware = CPU
    workers: int = 1  # processes that share each batch; always 1 on a GPU
    feeders: int = 0  # processes that draw the data ahead
    sheet_minutes: float = 0.0  # between two sample sheets; 0: none
    compile: bool = False  # whether torch.compile goes over the network first


PLAIN = RunOptions()
SAVE_EVERY = 200  # steps


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every trainer has."""
    parser.add_argument("--steps", type=int, help="length of the run in steps")
    parser.add_argument("--hours", type=float, help="length of the run in hours, pauses not counted")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="cpu: float32; cuda: bfloat16 autocast")
    parser.add_argument(
        "--workers", type=int, help="single-threaded processes that share each batch; 2 on a CPU, 1 on a GPU"
    )
    parser.add_argument(
        "--feeders", type=int, help=f"processes that draw the data ahead; 0 on a CPU, {FEEDERS} on a GPU"
    )
    parser.add_argument("--save-every", type=int, default=SAVE_EVERY, help="steps between two states on disk")
    parser.add_argument("--sheet-minutes", type=float, default=10.0, help="between two sample sheets; 0: none")


def add_compile_argument(parser: argparse.ArgumentParser) -> None:
    """For the trainers that can be compiled."""
    parser.add_argument(
        "--compile",
        action="store_true",
        help="takes some minutes at first and a C++ compiler; on a CPU a step then takes four fifths of its time",
    )


def read_run_options(parser: argparse.ArgumentParser, namespace: argparse.Namespace) -> RunOptions:
    """What `add_run_arguments` asked for. Ends the program with a sentence where that cannot be had."""
    try:
        hardware = choose_hardware(namespace.device)
    except ValueError as error:
        parser.error(str(error))
    on_cpu = hardware.device.type == "cpu"
    workers = namespace.workers if namespace.workers is not None else 2 if on_cpu else 1
    feeders = namespace.feeders if namespace.feeders is not None else 0 if on_cpu else FEEDERS
    if namespace.save_every < 1:
        parser.error(f"--save-every {namespace.save_every}: allowed is at least 1")
    if workers < 1 or feeders < 0 or namespace.sheet_minutes < 0:
        parser.error(
            f"--workers {workers} --feeders {feeders} --sheet-minutes {namespace.sheet_minutes}: "
            "allowed are at least 1, at least 0 and at least 0"
        )
    if workers > 1 and not on_cpu:
        parser.error(f"--workers {workers}: on a GPU one process has the whole batch, allowed is 1")
    return RunOptions(
        hardware=hardware,
        workers=workers,
        feeders=feeders,
        sheet_minutes=namespace.sheet_minutes,
        compile=getattr(namespace, "compile", False),
    )
