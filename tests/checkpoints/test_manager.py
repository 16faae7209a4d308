"""What is loaded stays so, the least recently used goes first, memory comes back: on the CPU, a small device, a GPU."""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import hashlib
import multiprocessing
import os
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.checkpoints import loader
from studio.checkpoints import manager as manager_module
from studio.checkpoints.catalog import Catalog, Entry
from studio.checkpoints.controlnet_file import load_controlnet
from studio.checkpoints.device_memory import DoesNotFit, memory_limits
from studio.checkpoints.extras import Extras
from studio.checkpoints.hashes import Hasher
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.manager import ModelManager
from studio.checkpoints.memo import Memo
from studio.checkpoints.options import ModelOptions
from studio.diffusion.components import Components
from studio.engine.device import Device
from tests.fake_device import FakeDevice
from tests.tiny import save_medium_checkpoint, save_tiny_checkpoint, tiny_components
from tests.tiny_control import save_tiny_controlnet

NAMES = ("one", "two", "three")
STATM = Path("/proc/self/statm")


def quiet(message: str, fraction: float) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gc.freeze()  # what is there now is not looked through at every collection: on a busy machine that is seconds
    folder = tmp_path_factory.mktemp("models")
    first = save_tiny_checkpoint(folder / "checkpoints" / NAMES[0], fast_preview=True)
    for name in NAMES[1:]:
        shutil.copytree(first, folder / "checkpoints" / name)
    bad = folder / "checkpoints" / "bad"
    shutil.copytree(first, bad)
    shutil.rmtree(bad / "tokenizer")
    save_tiny_controlnet(folder / "controlnet" / "lines", template().unet)
    return folder


@pytest.fixture(scope="module")
def weights(models: Path) -> int:
    """Bytes of one of the tiny checkpoints, loaded."""
    catalog = Catalog([models])
    return manager_module.weights_bytes(catalog.checkpoints()["one"], torch.float32)


DEVICES: dict[str, Callable[[], Device]] = {"cpu": lambda: Device("cpu"), "fake": FakeDevice}
if torch.cuda.is_available():
    DEVICES["cuda"] = lambda: Device("cuda", "fp32")


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Device:
    return DEVICES[request.param]()


class Loads:
    """Counts what is read from the disk; a fake device is told what was loaded to it."""

    def __init__(self, device: Device, real: bool = False) -> None:
        self.device = device
        self.real = real  # else copies of one checkpoint that has been loaded once
        self.offload = False
        self.names: list[str] = []
        self.fail: Exception | None = None

    def __call__(self, path: Path, *, name: str, **rest: Any) -> Components:
        self.names.append(name)
        if self.real or path.name == "bad":
            components = loader.load(path, name=name, **rest)
        else:
            rest["progress"]("Loading", 0.5)
            components = copied(name, rest["device"])
        if self.fail is not None:
            fail, self.fail = self.fail, None
            raise fail
        if isinstance(self.device, FakeDevice) and not self.offload:
            self.device.allocate(manager_module.modules(components))
        return components


@functools.cache
def template() -> Components:
    return tiny_components()


def copied(name: str, device: torch.device) -> Components:
    parts = {part: copy.deepcopy(module).to(device) for part, module in template().parts.items()}
    [encoder] = template().text_encoders
    return dataclasses.replace(
        template(),
        name=name,
        device=device,
        unet=parts["unet"],
        vae=parts["vae"],
        text_encoders=(dataclasses.replace(encoder, module=parts[encoder.part]),),
    )


def make(models: Path, device: Device, *, real: bool = False, **options: Any) -> tuple[ModelManager, Loads]:
    loads = Loads(device, real)
    loads.offload = bool(options.get("offload"))
    hasher = Hasher(Memo(None))
    manager = ModelManager(Catalog([models]), device=device, hasher=hasher, options=ModelOptions(**options), load=loads)
    return manager, loads


def test_what_fits_stays_loaded(models: Path, device: Device) -> None:
    manager, loads = make(models, device)
    first = manager.get("one", quiet)
    assert manager.get("one", quiet) is first
    manager.get("two", quiet)
    assert manager.get("one", quiet) is first
    assert loads.names == ["one", "two"]
    assert manager.loaded is first
    places, _, _ = manager.snapshot()
    assert sorted(places.values()) == ["device", "device"]


def test_the_least_recently_used_goes_first(models: Path, device: Device, weights: int) -> None:
    room = int(2.5 * weights)
    manager, loads = make(models, device, device_limit=room, ram_limit=room if device.is_cpu else 0)
    for name in ("one", "two", "one", "three"):
        manager.get(name, quiet)
    held = {manager.catalog.entry(model_id).name for model_id in manager.snapshot()[0]}  # type: ignore[union-attr]
    assert held == {"one", "three"}
    manager.get("one", quiet)
    assert loads.names == ["one", "two", "three"]


def test_from_the_device_to_ram_and_back_is_two_copies_and_no_reading(models: Path, weights: int) -> None:
    device = FakeDevice()
    manager, loads = make(models, device, device_limit=int(1.5 * weights), ram_limit=int(1.5 * weights))
    first = manager.get("one", quiet)
    second = manager.get("two", quiet)
    assert device.copies == ["ram"] * 3
    assert manager.get("one", quiet) is first
    assert device.copies == ["ram"] * 3 + ["ram"] * 3 + ["device"] * 3
    assert manager.snapshot()[1:] == (pytest.approx(weights, rel=0.05), pytest.approx(weights, rel=0.05))
    assert manager.get("two", quiet) is second
    assert loads.names == ["one", "two"]
    manager.get("three", quiet)  # RAM has room for one: the older one of two goes
    assert len(manager.snapshot()[0]) == 2
    manager.get("one", quiet)
    assert loads.names == ["one", "two", "three", "one"]


def test_before_a_load_that_needs_the_room_the_old_one_is_gone(models: Path, device: Device) -> None:
    manager, _ = make(models, device, device_limit=0, ram_limit=0)
    first = manager.get("one", quiet)
    gone = weakref.ref(first.unet)
    del first
    alive: list[bool] = []

    def look(message: str, fraction: float) -> None:
        gc.collect()
        alive.append(gone() is not None)

    manager.get("two", look)
    assert alive
    assert not any(alive), "two checkpoints at once do not fit a small device"


def test_after_a_failed_load_the_one_before_goes_on(models: Path, device: Device) -> None:
    manager, loads = make(models, device)
    good = manager.get("one", quiet)
    with pytest.raises(BadCheckpoint):
        manager.get("bad", quiet)  # which the listing has judged already: nothing is read of it
    assert manager.loaded is good
    loads.fail = BadCheckpoint("its tokenizer cannot be read")
    with pytest.raises(BadCheckpoint, match="tokenizer"):
        manager.get("two", quiet)
    assert manager.loaded is good
    loads.fail = RuntimeError("half-way")
    with pytest.raises(RuntimeError, match="half-way"):
        manager.get("two", quiet)
    assert manager.loaded is good
    assert manager.get("one", quiet) is good
    with pytest.raises(BadCheckpoint, match="not in the models folder any more"):
        manager.get("absent", quiet)
    assert loads.names == ["one", "two", "two"]


def test_out_of_memory_lets_the_others_go_and_tries_once_more(models: Path, device: Device) -> None:
    manager, loads = make(models, device)
    manager.get("one", quiet)
    loads.fail = torch.OutOfMemoryError("CUDA out of memory")
    assert manager.get("two", quiet).name == "two"
    assert loads.names == ["one", "two", "two"]
    places, on_device, in_ram = manager.snapshot()
    assert sorted(places.values()) == (["device"] if device.is_cpu else ["device", "ram"])
    assert in_ram if device.is_cpu else on_device


def test_what_does_not_fit_alone_is_told_with_what_to_change(models: Path, weights: int) -> None:
    device = FakeDevice(capacity=weights // 2)
    manager, _ = make(models, device)
    with pytest.raises(DoesNotFit, match=r"The checkpoint one needs about .* with --offload, with --dtype fp16"):
        manager.get("one", quiet)
    assert manager.loaded is None
    device.capacity = 2 * weights
    assert manager.get("one", quiet).name == "one"


def test_out_of_memory_on_the_way_back_from_ram(models: Path, weights: int) -> None:
    device = FakeDevice()
    manager, loads = make(models, device, device_limit=int(1.5 * weights))
    first = manager.get("one", quiet)
    manager.get("two", quiet)
    device.fail_next = 1
    with pytest.raises(DoesNotFit):
        manager.get("one", quiet)
    assert set(manager.snapshot()[0].values()) == {"ram"}
    assert manager.get("one", quiet) is first
    assert loads.names == ["one", "two"]


def test_a_job_that_ran_out_of_memory_frees_what_others_left_there(models: Path, weights: int) -> None:
    device = FakeDevice()
    manager, _ = make(models, device)
    manager.get("one", quiet)
    in_use = manager.get("two", quiet)
    before = device.used_bytes()
    assert manager.spare()
    assert device.used_bytes() == pytest.approx(before / 2, rel=0.05)
    assert manager.loaded is in_use
    assert not manager.spare()


def test_a_file_that_was_replaced_is_read_anew(models: Path, tmp_path: Path, device: Device) -> None:
    folder = tmp_path / "checkpoints" / "one"
    shutil.copytree(models / "checkpoints" / "one", folder)
    manager, loads = make(tmp_path, device)
    old = manager.get("one", quiet)
    shutil.copytree(folder, tmp_path / "checkpoints" / "two")
    manager.catalog.entries(refresh=True)
    manager.get("two", quiet)
    (folder / "note.json").write_text("{}")
    manager.catalog.entries(refresh=True)
    assert manager.get("one", quiet) is not old
    assert loads.names == ["one", "two", "one"]


def replace_weights(folder: Path, value: float, *, keep_time: bool = False) -> str:
    """Other weights of the same size in the place of a checkpoint's U-Net; their hash, as the manager counts it."""
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    before = file.stat()
    weights = {name: torch.full_like(tensor, value) for name, tensor in load_file(file).items()}
    save_file(weights, file.with_suffix(".part"), metadata={"format": "pt"})
    if keep_time:  # as cp -p and archives do
        os.utime(file.with_suffix(".part"), ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(file.with_suffix(".part"), file)
    files = sorted(folder.glob("*/*.safetensors"))
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_loaded_checkpoint_that_is_replaced_on_disk_is_read_anew(
    models: Path, tmp_path: Path, device: Device, keep_time: bool
) -> None:
    folder = tmp_path / "checkpoints" / "one"
    shutil.copytree(models / "checkpoints" / "one", folder)
    manager, loads = make(tmp_path, device, real=True)
    old = manager.get("one", quiet)
    wait_for(lambda: manager.loaded_hash() is not None)
    hash_before = manager.loaded_hash()
    assert not manager.is_replaced()
    expected = replace_weights(folder, 0.25, keep_time=keep_time)
    assert manager.is_replaced()
    assert manager.loaded is old, "lanes that run go on with it"
    assert manager.loaded_hash() == hash_before, "and say what they were made with"
    new = manager.get("one", quiet)
    assert new is not old
    assert float(new.unet.conv_in.weight.mean()) == 0.25
    wait_for(lambda: manager.loaded_hash() not in (None, hash_before))
    assert manager.loaded_hash() == expected
    assert not manager.is_replaced()
    assert manager.get("one", quiet) is new
    assert loads.names == ["one", "one"]


def test_a_checkpoint_that_changes_while_it_is_read_is_read_again(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "one"
    shutil.copytree(models / "checkpoints" / "one", folder)
    manager, _ = make(tmp_path, FakeDevice(), real=True)
    load = manager._load
    changes = iter([0.5])

    def changing(*args: Any, **options: Any) -> Components:
        components = load(*args, **options)
        for value in changes:
            replace_weights(folder, value)
        return components

    manager._load = changing  # type: ignore[method-assign]
    assert float(manager.get("one", quiet).unet.conv_in.weight.mean()) == 0.5
    manager.unload()
    endless = (0.1 * k for k in range(1, 100))

    def restless(*args: Any, **options: Any) -> Components:
        components = load(*args, **options)
        replace_weights(folder, next(endless))
        return components

    manager._load = restless  # type: ignore[method-assign]
    with pytest.raises(BadCheckpoint, match="one is written to while it is read"):
        manager.get("one", quiet)
    assert manager.loaded is None


def test_the_hash_of_a_file_that_is_replaced_while_it_is_counted_is_nobodys(tmp_path: Path) -> None:
    file = tmp_path / "loras" / "style.safetensors"
    file.parent.mkdir()
    save_file({"lora_unet_conv_in.lora_down.weight": torch.zeros(4, 4)}, file)
    catalog, memo = Catalog([tmp_path]), Memo(None)
    (old,) = catalog.entries()
    save_file({"lora_unet_conv_in.lora_down.weight": torch.ones(4, 4)}, file)
    assert Hasher(memo).now(old) is None
    assert memo.keys() == frozenset()
    (new,) = catalog.entries(refresh=True)
    hashes = Hasher(memo).now(new)
    assert hashes is not None
    assert hashes.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert Hasher(memo).both(old) is None


def test_unloading_gives_the_memory_back(models: Path, weights: int) -> None:
    device = FakeDevice()
    manager, _ = make(models, device)
    gone = [weakref.ref(manager.get(name, quiet).unet) for name in NAMES]
    manager.unload("two")
    assert [ref() is None for ref in gone] == [False, True, False]
    manager.unload()
    assert all(ref() is None for ref in gone)
    assert manager.loaded is None
    assert device.used_bytes() == 0


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_there_and_back_costs_nothing(tmp_path: Path, times: int) -> None:
    """RSS after so many switches is that after the first, within 5 %; of checkpoints of 30 MB, so that a leak of one
    would be seen at once. In a process of its own: what a thousand tests before it have left would be counted too."""
    if not STATM.exists():
        pytest.skip("only Linux tells")
    for name in ("one", "two"):
        save_medium_checkpoint(tmp_path / "checkpoints" / name)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        loaded, baseline, after = pool.apply(there_and_back, (tmp_path, times))
    assert loaded == 2 * (times + 2)
    assert after <= 1.05 * baseline, f"{baseline / 2**20:.0f} MB before, {after / 2**20:.0f} MB after"


def test_there_and_back_ten_times_costs_a_device_nothing(models: Path, device: Device, weights: int) -> None:
    """What is taken of its memory after ten switches is what was taken after the first, within 1 %; and nothing is left
    when both are let go."""
    if device.is_cpu:
        pytest.skip("the test above")
    total = device.total_bytes()
    assert total is not None

    def taken() -> int:
        device.release()
        free = device.free_bytes()
        assert free is not None
        return total - free

    before = taken()
    manager, loads = make(models, device, device_limit=int(1.5 * weights), ram_limit=0)
    baseline = 0
    for turn in range(10):
        for name in ("one", "two", "one"):
            manager.get(name, quiet)
        baseline = baseline or taken()
        assert abs(taken() - baseline) <= 0.01 * (baseline - before), f"after {turn + 1} turns"
    assert len(loads.names) == 21, "each switch read it anew: there was no RAM for it"
    manager.unload()
    assert taken() - before <= 0.01 * (baseline - before)


def there_and_back(folder: Path, times: int) -> tuple[int, int, int]:
    """Loads made, RSS before and after switching between the checkpoints one and two so many times."""
    device = Device("cpu")
    manager, loads = make(folder, device, real=True, ram_limit=0)

    def switch() -> int:
        for name in ("two", "one"):
            manager.get(name, quiet)
        device.release()
        return resident_bytes()

    switch()
    baseline = switch()
    after = [switch() for _ in range(times)][-1]
    return len(loads.names), baseline, after


def resident_bytes() -> int:
    fields = STATM.read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")  # without mapped files


def test_the_hash_is_that_of_the_weights(models: Path) -> None:
    manager, _ = make(models, Device("cpu"))
    assert manager.loaded_hash() is None
    manager.get("one", quiet)
    wait_for(lambda: manager.loaded_hash() is not None)
    files = sorted((models / "checkpoints" / "one").glob("*/*.safetensors"))
    assert manager.loaded_hash() == hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


def wait_for(done: Callable[[], bool], seconds: float = 60.0) -> None:
    tick = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if done():
            return
        tick.wait(0.02)
    raise AssertionError("it did not come to be")


# ---------------------------------------------------------------------------------------------------- ControlNets


class Net:
    """The ControlNet of the models folder, read for the loaded checkpoint of a manager; counts how often."""

    def __init__(self, manager: ModelManager, device: Device) -> None:
        self.manager, self.device, self.reads = manager, device, 0
        self.entry: Entry = next(e for e in manager.catalog.entries() if e.facts.kind == "controlnet")
        self.bytes = manager_module.weights_bytes(self.entry, torch.float32)

    def get(self) -> Any:
        return self.manager.module(self.entry, self._read)

    def _read(self) -> Any:
        self.reads += 1
        assert self.manager.loaded is not None
        module = load_controlnet(self.entry.path, self.manager.loaded)
        if isinstance(self.device, FakeDevice):
            self.device.allocate([module])
        return module


def test_a_controlnet_is_counted_and_goes_with_its_checkpoint(models: Path, device: Device) -> None:
    manager, _ = make(models, device)
    manager.get("one", quiet)
    _, *before = manager.snapshot()
    net = Net(manager, device)
    module = net.get()
    assert net.get() is module
    assert net.reads == 1
    assert manager.has_module(net.entry)
    places, *after = manager.snapshot()
    assert places[net.entry.id] == "device"
    assert sum(after) - sum(before) == pytest.approx(net.bytes, rel=0.02)
    gone = weakref.ref(module)
    del module
    manager.get("two", quiet)
    gc.collect()
    assert gone() is None, "it was read for another checkpoint's U-Net"
    assert net.entry.id not in manager.snapshot()[0]
    net.get()
    manager.leave(net.entry.id)
    assert not manager.has_module(net.entry)
    assert manager.loaded is not None


def test_others_make_room_for_a_controlnet_but_the_hot_checkpoint_stays(
    models: Path, device: Device, weights: int
) -> None:
    room = int(2.1 * weights)
    manager, _ = make(models, device, device_limit=room, ram_limit=room if device.is_cpu else 0)
    manager.get("one", quiet)
    in_use = manager.get("two", quiet)
    net = Net(manager, device)
    net.get()
    held = {manager.catalog.entry(model_id).name for model_id in manager.snapshot()[0]}  # type: ignore[union-attr]
    assert held == {"two", "lines"}
    assert manager.loaded is in_use
    tight, _ = make(models, device, device_limit=1, ram_limit=1)
    in_use = tight.get("one", quiet)
    Net(tight, device).get()
    assert tight.loaded is in_use


def test_a_controlnet_that_does_not_fit_is_told_and_the_checkpoint_goes_on(models: Path, weights: int) -> None:
    device = FakeDevice()
    manager, _ = make(models, device)
    in_use = manager.get("one", quiet)
    net = Net(manager, device)
    device.capacity = device.used_bytes() + net.bytes // 2
    with pytest.raises(DoesNotFit, match=r"The ControlNet lines needs about .* choose a smaller ControlNet"):
        net.get()
    assert manager.loaded is in_use
    assert net.reads == 0, "asked before it is read"
    device.capacity = 4 * 2**30
    manager.get("two", quiet)
    device.fail_next = 1
    net.get()
    assert net.reads == 2, "others are moved to RAM, then it is read once more"
    assert sorted(manager.snapshot()[0].values()) == ["device", "device", "ram"]


# ------------------------------------------------------------------------------------------------------- options


def test_limits_leave_room_for_pictures() -> None:
    small = memory_limits(FakeDevice(), ModelOptions())
    assert small == (4 * 2**30 - 1536 * 2**20, 32 * 2**30)
    large = memory_limits(FakeDevice(capacity=24 * 2**30), ModelOptions())
    assert large[0] == pytest.approx(0.7 * 24 * 2**30, rel=0.01)
    assert memory_limits(FakeDevice(), ModelOptions(device_limit=7, ram_limit=8)) == (7, 8)


def test_offload_keeps_one_part_at_a_time_on_the_device_and_makes_the_same_picture(models: Path) -> None:
    plain = template()
    device = FakeDevice()
    manager, _ = make(models, device, offload=True)
    components = manager.get("one", quiet)
    device.copies.clear()
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    embeds = torch.randn(1, 77, 8, generator=torch.Generator().manual_seed(2))

    def run(parts: Components) -> torch.Tensor:
        with torch.inference_mode():
            noise = parts.unet(latents, 500, embeds, return_dict=False)[0]
            return parts.vae.decode(noise, return_dict=False)[0]

    expected = run(plain)
    for _ in range(2):
        assert torch.equal(run(components), expected)
    assert device.copies[-3:] == ["device", "ram", "device"]
    assert len([ref for ref in device._there.values() if ref() is not None]) == 1
    assert not any(p.is_inference() for p in components.unet.parameters())
    unet = weakref.ref(components.unet)
    del components
    manager.unload()
    gc.collect()
    assert unet() is None


def test_fp8_storage_halves_the_weights_and_still_answers(models: Path) -> None:
    manager, _ = make(models, Device("cpu"), fp8=True)
    unet = manager.get("one", quiet).unet
    stored = {p.dtype for p in unet.parameters()}
    assert torch.float8_e4m3fn in stored
    with torch.inference_mode():
        noise = unet(torch.zeros(1, 4, 8, 8), 500, torch.zeros(1, 77, 8), return_dict=False)[0]
    assert torch.isfinite(noise).all()
    assert noise.dtype == torch.float32


def test_the_other_options_reach_the_modules(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, *a, **k: compiled.append(self))
    manager, _ = make(models, Device("cpu"), attention_slicing=True, vae_tiling=True, channels_last=True, compile=True)
    components = manager.get("one", quiet)
    assert compiled == [components.unet]
    assert components.vae.use_tiling
    assert components.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    processors = {type(p).__name__ for p in components.unet.attn_processors.values()}
    assert processors == {"SlicedAttnProcessor"}


def test_a_controlnet_that_is_replaced_is_read_anew(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "checkpoints" / "one", tmp_path / "checkpoints" / "one")
    save_tiny_controlnet(tmp_path / "controlnet" / "lines", template().unet)
    manager, _ = make(tmp_path, FakeDevice(), real=True)
    components = manager.get("one", quiet)
    extras = Extras(manager.catalog, manager)
    first = extras.controlnet(components, "lines")
    assert extras.controlnet(components, "LINES") is first
    file = next((tmp_path / "controlnet" / "lines").glob("*.safetensors"))
    weights = {name: tensor * 0 + 0.25 for name, tensor in load_file(file).items()}
    save_file(weights, file.with_suffix(".part"), metadata={"format": "pt"})
    os.replace(file.with_suffix(".part"), file)
    assert not extras.has_controlnet("lines")
    second = extras.controlnet(components, "lines")
    assert float(second.conv_in.weight.mean()) == 0.25
