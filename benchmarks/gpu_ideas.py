"""What the bare U-Net and the bare VAE say about ideas that the engine does not have, or has as a choice: larger
calls, number formats, memory layouts, compiled blocks, CUDA graphs, decoding beside the next call.

Every function takes a `Setting` and a `Report`. A ratio is to the same call as it is today, in the same process.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_models
from benchmarks.gpu_models import Work
from benchmarks.gpu_report import Report, ratio

WARM_CALLS = 3
GRAPH_ROWS = tuple(range(1, 17))


@dataclass(frozen=True)
class Setting:
    """Where and how much: `models` is a models folder, `scratch` one that is deleted afterwards."""

    models: Path
    scratch: Path
    device: torch.device
    work: Work

    @property
    def dtype(self) -> torch.dtype:
        """What the engine takes on this device without being asked."""
        return torch.float32 if self.device.type == "cpu" else torch.float16

    def checkpoint(self, name: str) -> Path:
        """The diffusers folder of `sd15` or `sdxl`."""
        return gpu_models.checkpoint(self.models, name, self.work.tiny)

    def synchronize(self) -> None:
        """Wait until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def allocated(self) -> int | None:
        """Bytes of tensors on the device; None on a CPU, which nobody counts."""
        return torch.cuda.memory_allocated(self.device) if self.device.type == "cuda" else None


def batch_curve(setting: Setting, report: Report) -> None:
    """Seconds of one U-Net call by its rows, and a row of it to a row of the smallest call."""
    for name in gpu_models.FAMILIES:
        curve: dict[int, dict[str, Any]] = {}
        unet, side = _unet(setting, name)
        for rows in setting.work.rows:
            try:
                seconds = _call_seconds(setting, _call(setting, unet, rows, side))
            except torch.OutOfMemoryError:
                report.add(**{f"{name}_too_large": f"{rows} rows"})
                break
            first = curve[setting.work.rows[0]]["seconds"] if curve else seconds
            curve[rows] = {"seconds": seconds, "row_to_one": ratio(seconds / rows, first / setting.work.rows[0])}
            report.add(**{name: curve})
        del unet


def formats(setting: Setting, report: Report) -> None:
    """bfloat16 and channels-last, alone and together, to what the engine does without being asked."""
    for name in gpu_models.FAMILIES:
        unet, side = _unet(setting, name)
        seconds: dict[str, dict[int, float]] = {}
        for dtype, layout in (
            (setting.dtype, torch.contiguous_format),
            (setting.dtype, torch.channels_last),
            (torch.bfloat16, torch.channels_last),
            (torch.bfloat16, torch.contiguous_format),
        ):
            unet.to(dtype=dtype, memory_format=layout)
            way = f"{str(dtype).removeprefix('torch.')}{', channels-last' if layout is torch.channels_last else ''}"
            seconds[way] = {
                rows: _call_seconds(setting, _call(setting, unet, rows, side, dtype)) for rows in _few_rows(setting)
            }
            first = next(iter(seconds.values()))
            ratios = {way: {rows: ratio(s, first[rows]) for rows, s in of.items()} for way, of in seconds.items()}
            report.add(**{name: {"seconds": seconds, "ratio": ratios}})
        del unet


def compiled(setting: Setting, report: Report) -> None:
    """The repeated transformer blocks of SD 1.5's U-Net compiled: what the first call of a size costs, and what each
    later one saves. A size that is new is the price of lanes, whose calls change their rows."""
    unet, side = _unet(setting, "sd15")
    plain = {rows: _call_seconds(setting, _call(setting, unet, rows, side)) for rows in _few_rows(setting)}
    report.add(seconds=plain)
    unet.compile_repeated_blocks(fullgraph=True)
    sizes: dict[int, dict[str, Any]] = {}
    for rows in plain:
        call = _call(setting, unet, rows, side)
        begin = time.perf_counter()
        call()
        setting.synchronize()
        first = round(time.perf_counter() - begin, 3)
        seconds = _call_seconds(setting, call)
        sizes[rows] = {"first_seconds": first, "seconds": seconds, "ratio": ratio(seconds, plain[rows])}
        report.add(compiled=sizes)


def graphs(setting: Setting, report: Report) -> None:
    """A CUDA graph of SD 1.5's U-Net for every number of rows: replay to call, seconds to record one, memory of all."""
    unet, side = _unet(setting, "sd15")
    if setting.device.type != "cuda":
        seconds = {rows: _call_seconds(setting, _call(setting, unet, rows, side)) for rows in setting.work.rows}
        report.add(left_out="this device has no CUDA graphs", seconds=seconds)
        return
    before, pool = torch.cuda.memory_reserved(setting.device), torch.cuda.graph_pool_handle()
    sizes: dict[int, dict[str, Any]] = {}
    all_graphs = []  # they stay, so that their memory is counted together
    for rows in GRAPH_ROWS[::-1]:  # the largest first: the others then fit into its memory
        call = _call(setting, unet, rows, side)
        seconds = _call_seconds(setting, call)
        begin = time.perf_counter()
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph, pool=pool):
            answer = call()
        setting.synchronize()
        all_graphs.append((graph, answer))
        recorded = round(time.perf_counter() - begin, 3)
        replay = _call_seconds(setting, graph.replay)
        sizes[rows] = {
            "seconds": seconds,
            "replay_seconds": replay,
            "ratio": ratio(replay, seconds),
            "record_seconds": recorded,
            "largest_difference": float((call() - answer).abs().max()),
            "memory_mib": round((torch.cuda.memory_reserved(setting.device) - before) / 2**20),
        }
        report.add(graphs=sizes)


def decode_beside(setting: Setting, report: Report) -> None:
    """A picture's decoding beside the next U-Net call, to one after the other: in a second stream, told by the same
    thread or by one of its own. On a device without streams both are one after the other."""
    from diffusers import AutoencoderKL

    name = "sd15"
    unet, side = _unet(setting, name)
    vae = AutoencoderKL.from_pretrained(setting.checkpoint(name) / "vae", torch_dtype=setting.dtype).to(setting.device)
    latents = torch.randn((1, 4, side, side)).to(setting.device, setting.dtype)

    def decode() -> Any:
        with torch.inference_mode():
            return vae.decode(latents, return_dict=False)[0]

    with _other_stream(setting) as beside, ThreadPoolExecutor(1) as thread:

        def decode_in_stream() -> None:
            with beside():
                decode()

        report.add(has_streams=setting.device.type == "cuda", decode_seconds=_call_seconds(setting, decode))
        sizes: dict[int, dict[str, Any]] = {}
        for rows in _few_rows(setting):
            call = _call(setting, unet, rows, side)

            def in_turn(call: Callable[[], Any] = call) -> None:
                call()
                decode()

            def same_thread(call: Callable[[], Any] = call) -> None:
                decode_in_stream()
                call()

            def own_thread(call: Callable[[], Any] = call) -> None:
                decoded = thread.submit(decode_in_stream)
                call()
                decoded.result()

            seconds = {
                "call": _call_seconds(setting, call),
                "in_turn": _call_seconds(setting, in_turn),
                "second_stream": _call_seconds(setting, same_thread),
                "second_stream_own_thread": _call_seconds(setting, own_thread),
            }
            ratios = {way: ratio(s, seconds["in_turn"]) for way, s in seconds.items() if way.startswith("second")}
            sizes[rows] = {"seconds": seconds, "ratio_to_in_turn": ratios}
            report.add(beside=sizes)


@contextlib.contextmanager
def _other_stream(setting: Setting) -> Iterator[Callable[[], contextlib.AbstractContextManager[Any]]]:
    """What opens a second stream of the device; nothing where it has none."""
    if setting.device.type != "cuda":
        yield contextlib.nullcontext
        return
    stream = torch.cuda.Stream(setting.device)
    yield lambda: torch.cuda.stream(stream)


def _few_rows(setting: Setting) -> tuple[int, ...]:
    """One guided lane, and a call of several."""
    return (2,) if setting.work.tiny else (2, 8)


def _unet(setting: Setting, name: str) -> tuple[Any, int]:
    """A checkpoint's U-Net on the device, and its native latent side."""
    from diffusers import UNet2DConditionModel

    folder = setting.checkpoint(name)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=setting.dtype).to(setting.device)
    return unet.eval().requires_grad_(False), gpu_models.native_side(folder)


def _call(
    setting: Setting, unet: Any, rows: int, side: int, dtype: torch.dtype | None = None
) -> Callable[[], torch.Tensor]:
    """A call of the U-Net with so many rows, every tensor of which stays where it is."""
    generator = torch.Generator().manual_seed(rows)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(setting.device, dtype or setting.dtype)

    given: dict[str, Any] = {
        "sample": noise(rows, unet.config.in_channels, side, side),
        "timestep": torch.full((rows,), 500, device=setting.device),
        "encoder_hidden_states": noise(rows, 77, unet.config.cross_attention_dim),
        "return_dict": False,
    }
    if unet.config.addition_embed_type == "text_time":
        numbers = 6
        pooled = unet.config.projection_class_embeddings_input_dim - numbers * unet.config.addition_time_embed_dim
        given["added_cond_kwargs"] = {"text_embeds": noise(rows, pooled), "time_ids": noise(rows, numbers)}

    def call() -> torch.Tensor:
        with torch.inference_mode():
            answer: torch.Tensor = unet(**given)[0]
            return answer

    return call


def _call_seconds(setting: Setting, call: Callable[[], Any]) -> float:
    """The median of calls that the device has done, each waited for."""
    seconds = []
    for number in range(WARM_CALLS + setting.work.calls):
        setting.synchronize()
        begin = time.perf_counter()
        call()
        setting.synchronize()
        if number >= WARM_CALLS or setting.work.tiny:
            seconds.append(time.perf_counter() - begin)
    return round(statistics.median(seconds), 6)
