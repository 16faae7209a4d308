#!/usr/bin/env python3
"""Latent Studio: flags -> engine + page -> launch. The only file that knows both sides.

Order matters for the person who waits: cheap checks first (one line and out), then the page, which answers before
PyTorch has been imported; the engine's own thread loads the model behind it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import http.client
import importlib.util
import ipaddress
import logging
import os
import re
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # the checks and --help need nothing but Python itself
    from studio.answered.engine import Engine
    from studio.picture.gallery import Gallery
    from studio.web.interfaces import Interface
    from studio.web.process import Ending, TemporaryFolder
    from studio.web.sharing import ShareState
    from studio.web.upload_room import UploadRoom

ROOT = Path(__file__).resolve().parent
BUILT_IN = "small-world-128"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
SPACE_STORAGE = Path("/data")
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")  # where a Space's proxy is
CLOSE_SECONDS = 2.3  # of the three that ending may take


def parser() -> argparse.ArgumentParser:
    """The flags, with help that is good reading."""
    p = argparse.ArgumentParser(
        prog="python app.py",
        description="Latent Studio: make pictures with Stable Diffusion and see how it works. Without any flag it "
        "opens on http://127.0.0.1:7860 for you alone, with the built-in model, and saves pictures to ./outputs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    where = p.add_argument_group("where it answers")
    where.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; at any but this machine's own everybody needs a link or a login",
    )
    where.add_argument("--port", type=int, default=7860, help="port to listen on")
    where.add_argument(
        "--share",
        action="store_true",
        help="make a public link through Gradio's tunnel: prints one for guests and one for you",
    )
    where.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        help="a login for you; @FILE reads it from a file of mode 0600, and STUDIO_AUTH says it without a flag",
    )
    where.add_argument(
        "--guest",
        metavar="USER:PASSWORD",
        help="a second login for others (@FILE, STUDIO_GUEST): they make pictures, and cannot load, download or "
        "change models",
    )
    where.add_argument(
        "--public",
        action="store_true",
        help="let everybody who reaches the address in as a guest, without a link; your own way in is --auth",
    )
    where.add_argument(
        "--name",
        action="append",
        metavar="HOST",
        help="a name that browsers use for a proxy in front of the studio; may be given several times",
    )
    where.add_argument(
        "--proxy",
        action="append",
        metavar="ADDRESS",
        help="a proxy on another machine, by its address or a network such as 10.0.0.0/8: it is believed from whom a "
        "request comes (X-Forwarded-For), as one on this machine is; may be given several times",
    )
    for flag, holds in (("--ssl-cert", "certificate, with its chain"), ("--ssl-key", "key, without a passphrase")):
        where.add_argument(
            flag,
            type=Path,
            metavar="FILE",
            help=f"PEM file of a {holds}: the page is served over https, so copying, the camera and installing work in "
            "other machines' browsers too",
        )
    where.add_argument(
        "--frame-by",
        action="append",
        metavar="ORIGIN",
        help="a site that may show the page in a frame, such as https://example.org; the page must be reached by https "
        "then; may be given several times",
    )
    programs = p.add_argument_group("programs")
    programs.add_argument(
        "--api",
        action="store_true",
        help="answer AUTOMATIC1111's API too, below /sdapi/v1/, for programs that are made for it",
    )
    programs.add_argument(
        "--mcp",
        action="store_true",
        help="answer the Model Context Protocol at /mcp: four tools for agents, each with a token of a guest's rights; "
        "needs requirements-mcp.txt",
    )
    files = p.add_argument_group("files")
    files.add_argument(
        "--models-dir",
        type=Path,
        action="append",
        metavar="DIR",
        help="a folder of models in this studio's, AUTOMATIC1111's, Forge's or ComfyUI's layout, beside the "
        "studio's own models folder; may be given several times",
    )
    files.add_argument(
        "--outputs-dir", type=Path, default=ROOT / "outputs", metavar="DIR", help="where pictures are saved"
    )
    files.add_argument(
        "--library-dir",
        type=Path,
        action="append",
        metavar="DIR",
        help="a folder of another program's pictures that the tab Library shows too, to you alone and without changing "
        "anything in it; may be given several times",
    )
    device = p.add_argument_group("the device")
    device.add_argument(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda[:n]|xpu|mps",
        help="what computes; auto takes a GPU if there is one",
    )
    device.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "fp32", "fp16", "bf16"),
        help="precision of the weights; auto is fp16 on a GPU, and on a CPU fp32, or bf16 for a large checkpoint "
        "where that is measured to be 1.3 times as fast (not with --exact)",
    )
    device.add_argument(
        "--exact",
        action="store_true",
        help="one picture at a time, bit-equal whoever else is there; otherwise pictures share U-Net calls and may "
        "differ in the last bit",
    )
    device.add_argument(
        "--engine-process",
        action="store_true",
        help="run the models in a process of their own: when it ends, for want of memory say, the page stays and "
        "starts it anew",
    )
    device.add_argument("--no-preload", action="store_true", help="load no model before the first picture is asked for")
    memory = p.add_argument_group("memory")
    memory.add_argument(
        "--keep-on-device",
        type=gigabytes,
        metavar="GB",
        help="weights kept on the GPU, the model in use included; the least recently used go to RAM. Without it: "
        "what is free at the start, less a third for the pictures",
    )
    memory.add_argument(
        "--keep-in-ram",
        type=gigabytes,
        metavar="GB",
        help="weights kept in RAM; the least recently used are let go. Without it: half of what is free at the start",
    )
    memory.add_argument(
        "--offload", action="store_true", help="keep only the part that computes on the GPU; slow, small"
    )
    memory.add_argument(
        "--fp8", action="store_true", help="store the U-Net's weights in 8 bits: half the memory of fp16"
    )
    memory.add_argument("--attention-slicing", action="store_true", help="compute attention in slices: less memory")
    memory.add_argument("--vae-tiling", action="store_true", help="decode large pictures in tiles: less memory")
    memory.add_argument("--channels-last", action="store_true", help="a memory layout that some GPUs are faster in")
    memory.add_argument("--compile", action="store_true", help="compile the U-Net: minutes at first, faster then")
    return p


def take_space(flags: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """In a Space of Hugging Face: answer where its proxy asks, in its frame, and admit everybody who may see the Space.
    What stays on its disk goes to its storage, where it has one."""
    if not environment.get("SPACE_ID") or not environment.get("SPACE_HOST"):
        return
    flags.host = "0.0.0.0"
    flags.public = True
    flags.name = [*(flags.name or ()), environment["SPACE_HOST"]]
    flags.proxy = [*(flags.proxy or ()), *PRIVATE_NETWORKS]
    flags.frame_by = [*(flags.frame_by or ()), "https://huggingface.co"]
    if flags.outputs_dir == ROOT / "outputs" and os.access(SPACE_STORAGE, os.W_OK):
        flags.outputs_dir = SPACE_STORAGE / "outputs"


def gigabytes(text: str) -> int:
    """A flag's gigabytes as bytes. Raises ArgumentTypeError for what is no amount of memory."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 4096:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give gigabytes from 0 to 4096, such as 6 or 2.5")
    return int(number * 2**30)


def check(flags: argparse.Namespace) -> None:
    """Refuse what cannot work, in one line that says what to do. Raises SystemExit."""
    if not 1 <= flags.port <= 65535:
        stop(f"--port {flags.port}: a port is a number from 1 to 65535, such as 7860.")
    flags.auth = login_of("--auth", flags.auth, "STUDIO_AUTH")
    flags.guest = login_of("--guest", flags.guest, "STUDIO_GUEST")
    if flags.guest is not None and flags.auth is None:
        stop("--guest: a login for guests needs one for yourself beside it: add --auth.")
    if flags.guest is not None and flags.guest == flags.auth:
        stop("--guest: choose another name or password than --auth's, or guests would be owners.")
    check_names(flags)
    check_certificate(flags)
    if flags.auth is None and lets_others_in(flags) and not flags.public and not sys.stdout.isatty():
        flags_text = "--share" if flags.share else f"--host {flags.host}"
        stop(
            f"{flags_text} lets others in, and there is no terminal to print your link on: set "
            "STUDIO_AUTH=user:password, or add --auth @FILE with a file of mode 0600 that holds it."
        )
    if flags.mcp and importlib.util.find_spec("mcp") is None:
        stop("--mcp needs a package that is not here: run python -m pip install -r requirements-mcp.txt first.")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|xpu|mps", flags.device):
        stop(f"--device {flags.device}: choose auto, cpu, cuda, cuda:0 (or another number), xpu or mps.")
    for folder in flags.models_dir or ():
        if not folder.is_dir():
            stop(f"--models-dir {folder}: there is no such folder; make it or correct the path.")
    for folder in flags.library_dir or ():
        if not folder.is_dir():
            stop(f"--library-dir {folder}: there is no such folder; make it or correct the path.")
    if not flags.outputs_dir.parent.is_dir():
        stop(
            f"--outputs-dir {flags.outputs_dir}: {flags.outputs_dir.parent} does not exist; make it or choose another."
        )
    try:
        flags.outputs_dir.mkdir(exist_ok=True)
    except OSError as error:
        stop(f"--outputs-dir {flags.outputs_dir}: cannot be made ({error.strerror}); choose another folder.")
    check_port(flags.host, flags.port)
    if flags.device not in ("auto", "cpu"):
        check_device(flags.device)


def check_names(flags: argparse.Namespace) -> None:
    """Of a proxy, and of the sites that may frame the page. Raises SystemExit."""
    for name in flags.name or ():
        if not re.fullmatch(r"[A-Za-z0-9.-]+", name):
            stop(f"--name {name}: give a host's name without https:// or a port, such as studio.example.org.")
    for address in flags.proxy or ():
        try:
            ipaddress.ip_network(address)
        except ValueError:
            stop(f"--proxy {address}: give an address or a network of addresses, such as 192.168.1.2 or 10.0.0.0/8.")
    for origin in flags.frame_by or ():
        if not re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d+)?", origin):
            stop(f"--frame-by {origin}: give a site as https://name without a path, such as https://example.org.")
    if flags.share and flags.public:
        stop("--public: everybody with the address is a guest, so --share has no invitation to give; choose one.")


def lets_others_in(flags: argparse.Namespace) -> bool:
    """Whether somebody on another machine can reach the page."""
    return bool(flags.share or flags.public or flags.name) or flags.host not in LOOPBACK


def login_of(flag: str, value: str | None, variable: str) -> str | None:
    """user:password from a flag or an environment variable, or from the file that it names. Raises SystemExit."""
    name = flag if value is not None else variable
    value = value if value is not None else os.environ.get(variable) or None
    if value is None:
        return None
    if value.startswith("@"):
        value = secret_in(name, Path(value[1:]))
    if not re.fullmatch(r"[^:]+:.+", value):
        stop(f"{name}: give a name and a password with a colon between them, such as ann:long-password.")
    return value


def secret_in(name: str, file: Path) -> str:
    """The first line of a file that nobody else on this machine can read. Raises SystemExit."""
    try:
        mode = file.stat().st_mode & 0o777
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        stop(f"{name}: {file} cannot be read ({getattr(error, 'strerror', None) or 'it is no text'}).")
    if os.name != "nt" and mode & 0o077:
        stop(f"{name}: others can read {file} (mode {mode:04o}); run chmod 600 {file} first.")
    return lines[0].strip() if lines else ""


def check_certificate(flags: argparse.Namespace) -> None:
    """That certificate and key are there, belong together and can be read. Raises SystemExit."""
    if flags.ssl_cert is None and flags.ssl_key is None:
        return
    if flags.ssl_cert is None or flags.ssl_key is None:
        stop("--ssl-cert and --ssl-key go together: give both files.")
    if flags.share:
        stop("--share has https of its own: leave out --ssl-cert and --ssl-key.")
    for flag, path in (("--ssl-cert", flags.ssl_cert), ("--ssl-key", flags.ssl_key)):
        if not path.is_file():
            stop(f"{flag} {path}: there is no such file.")
    try:
        # The empty passphrase: OpenSSL would ask for one on the terminal.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(flags.ssl_cert, flags.ssl_key, lambda: "")
    except (ssl.SSLError, OSError) as error:
        why = "its key has a passphrase, is damaged, or belongs to another certificate"
        stop(f"--ssl-cert {flags.ssl_cert}: cannot be used with --ssl-key {flags.ssl_key}; {why} ({error}).")


def check_device(name: str) -> None:
    """Only a named accelerator is worth waiting for torch before the page is up."""
    from studio.engine.device import Device

    try:
        Device(name)
    except ValueError as error:
        stop(f"--{error}")


def check_port(host: str, port: int) -> None:
    """Raises SystemExit when something else listens there."""
    if port_in_use(host, port):
        stop(f"Port {port} is in use, perhaps by another studio: open it, or start with --port {port + 1}.")


def port_in_use(host: str, port: int) -> bool:
    """Whether something listens there already. An address that is not this machine's is reported by `stop`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name != "nt":  # on Windows this option would let two servers share a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror:
            stop(f"--host {host}: this name has no address; use 127.0.0.1, 0.0.0.0 or an address of this machine.")
        except PermissionError:
            stop(f"--port {port}: this port is reserved for administrators; choose one above 1023.")
        except OSError as error:
            if getattr(error, "errno", None) == 99 or "assign" in str(error).lower():
                stop(f"--host {host}: not an address of this machine; use 127.0.0.1 or 0.0.0.0.")
            return True
    return False


def stop(line: str) -> NoReturn:
    """End with one line for the person and no traceback."""
    sys.exit(f"latent-studio: {line}")


def quiet_environment(temporary: Path) -> None:
    """No telemetry, no code from a hub, no proxy between this machine and itself, temporary files in our own folder.
    Runs before gradio or diffusers is imported. Raises SystemExit for proxy settings that nothing could use."""
    os.environ.update(
        GRADIO_ANALYTICS_ENABLED="False",
        GRADIO_TEMP_DIR=str(temporary),
        HF_HUB_DISABLE_TELEMETRY="1",
        DIFFUSERS_DISABLE_REMOTE_CODE="1",
        DO_NOT_TRACK="1",
    )
    # What torch compiles is kept from one start to the next, so it stays outside.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / "latent-studio.torchinductor"))
    tempfile.tempdir = str(temporary)
    for name in ("NO_PROXY", "no_proxy"):
        past = [host.strip() for host in os.environ.get(name, "").split(",")]
        os.environ[name] = ",".join(dict.fromkeys([*filter(None, past), *sorted(LOOPBACK)]))
    if any(os.environ.get(name) for name in (*PROXIES, *map(str.lower, PROXIES))):
        import httpx

        try:
            httpx.Client().close()
        except Exception as error:
            stop(f"The proxy settings cannot be used ({error}): correct or unset {', '.join(PROXIES)} and NO_PROXY.")


def make_engine(flags: argparse.Namespace) -> Engine:
    """The engine in this process, or in a child process."""
    from studio.checkpoints.options import ModelOptions
    from studio.picture.gallery import Gallery

    models_dirs = [ROOT / "models", *(flags.models_dir or ())]
    preload = None if flags.no_preload else BUILT_IN
    options = ModelOptions(
        device_limit=flags.keep_on_device,
        ram_limit=flags.keep_in_ram,
        attention_slicing=flags.attention_slicing,
        vae_tiling=flags.vae_tiling,
        offload=flags.offload,
        fp8=flags.fp8,
        channels_last=flags.channels_last,
        compile=flags.compile,
    )
    if flags.engine_process:
        from studio.engine.remote.engine import RemoteEngine

        return RemoteEngine(
            models_dirs,
            flags.outputs_dir,
            device=flags.device,
            dtype=flags.dtype,
            exact=flags.exact,
            preload=preload,
            options=options,
            jobs_file=True,
        )
    from studio.engine.engine import DiffusionEngine
    from studio.engine.local import LocalEngine
    from studio.engine.store.store import JobStore

    engine = DiffusionEngine(
        models_dirs,
        Gallery(flags.outputs_dir),
        device=flags.device,
        dtype=flags.dtype,
        exact=flags.exact,
        preload=preload,
        options=options,
        store=JobStore(flags.outputs_dir),
    )
    return LocalEngine(engine)


def serve(flags: argparse.Namespace, temporary: TemporaryFolder, ending: Ending) -> None:
    """Engine and page, until the end is asked for."""
    engine = make_engine(flags)  # first: its process starts while the page's libraries are imported
    from studio.picture.gallery import Gallery
    from studio.picture.library.library import Library
    from studio.ui import application, session
    from studio.ui.page import build
    from studio.ui.text import say
    from studio.ui.tunnel import open_tunnel
    from studio.ui.uploads import Uploads
    from studio.ui.viewer.replay_page import replay_page
    from studio.web import Share, middleware
    from studio.web.access import Access
    from studio.web.board import Board
    from studio.web.guest_files import forget_files
    from studio.web.guest_view import answered_visitor
    from studio.web.limits import NewVisitors, with_limits
    from studio.web.owner_file import OwnerFile
    from studio.web.programs import Programs
    from studio.web.server import Server, address_for_others
    from studio.web.sharing import Sharing
    from studio.web.upload_room import UploadRoom

    gallery = Gallery(flags.outputs_dir)
    access = Access(
        auth=tuple(flags.auth.split(":", 1)) if flags.auth else None,
        guest=tuple(flags.guest.split(":", 1)) if flags.guest else None,
        always_closed=flags.host not in LOOPBACK or bool(flags.name),
        admits_everybody=flags.public,
        owner_file=OwnerFile(gallery.outputs_dir),
        programs=Programs(gallery.outputs_dir),
        cookie_folder=gallery.outputs_dir,
    )
    new_visitors = NewVisitors()
    engine, limits = with_limits(
        engine,
        access,
        new_visitors,
        Board(gallery.outputs_dir),
        lambda: session.visitor_now() or answered_visitor(),
    )
    library = Library(gallery, flags.library_dir or (), busy=lambda: engine.status().running > 0)
    uploads = Uploads()
    page, launch = build(engine, gallery, uploads)
    hosts = {*LOOPBACK, flags.host, *(flags.name or ())}
    certificate = (flags.ssl_cert, flags.ssl_key) if flags.ssl_cert else None
    scheme = "http" if certificate is None else "https"
    needs_tunnel = flags.share or (flags.host in LOOPBACK and not flags.name and not flags.ssl_cert)
    terminal = sys.stdout.isatty()
    sharing = Sharing(
        access,
        engine,
        hosts,
        partial(open_tunnel, flags.host, flags.port, page.share_token, temporary.path) if needs_tunnel else None,
        address=f"https://{flags.name[0]}" if flags.name else address_for_others(flags.host, flags.port, scheme),
        on_ready=partial(
            tell,
            terminal=terminal,
            closed=flags.auth is not None or flags.host not in LOOPBACK,
            tunnelled=needs_tunnel,
        ),
        on_over=limits.board.end_share,
        on_end=partial(forget_files, gallery.outputs_dir),
    )
    room = UploadRoom(temporary.path, access, new_visitors)
    layers = middleware(
        engine,
        gallery,
        hosts=hosts,
        access=access,
        new_visitors=new_visitors,
        replay_page=replay_page,
        uploads=uploads,
        room=room,
        functions=application.functions(page),
        share=Share(sharing, limits),
        library=library,
        interfaces=interfaces(flags, engine, gallery, room),
        proxies=flags.proxy or (),
        framed_by=flags.frame_by or (),
    )
    site = application.application(page, launch, layers)
    try:
        server = Server(site, host=flags.host, port=flags.port, certificate=certificate)
    except OSError:
        check_port(flags.host, flags.port)  # taken since `check`, by a studio started in the same seconds
        raise
    server.start()
    answered_once(flags.port, is_https=certificate is not None)
    engine.start()  # after the page answers: importing torch holds Python's lock in long bursts
    print(f"Latent Studio is open at {server.url}", flush=True)
    if flags.public:
        print(say("share.terminal.everybody"), flush=True)
    elif lets_others_in(flags):
        keys = sharing.begin().keys
        if terminal and needs_tunnel and keys is not None:
            print(say("share.terminal.local", link=f"{server.url}enter#{keys.owner}"))
            print(say("share.terminal.opening"), flush=True)
    if flags.api:
        print(say("terminal.api", address=f"{server.url}sdapi/v1/"), flush=True)
    if flags.mcp:
        print(say("terminal.mcp", address=f"{server.url}mcp"), flush=True)
    print("Stop it with Ctrl+C.", flush=True)
    ending.wait()
    print("\nClosing. (Ctrl+C again ends it at once.)", flush=True)
    deadline = time.monotonic() + CLOSE_SECONDS
    gc.freeze()  # the process ends: looking for cycles among all that is here would take longer than the rest
    sharing.end()
    server.stop()
    application.close(page, site)
    closing = threading.Thread(target=engine.close, name="closing", daemon=True)
    closing.start()
    server.close(CLOSE_SECONDS)
    library.close()
    closing.join(max(0.0, deadline - time.monotonic()))


def interfaces(flags: argparse.Namespace, engine: Engine, gallery: Gallery, room: UploadRoom) -> list[Interface]:
    """Those for programs of others that the flags switch on; nothing of another is imported."""
    switched_on: list[Interface] = []
    if flags.api:
        from studio.web.a1111 import routes as a1111

        switched_on.append(a1111.interface(engine, gallery, room))
    if flags.mcp:
        from studio.web.mcp import layer as mcp

        switched_on.append(mcp.interface(engine, gallery, room))
    return switched_on


def answered_once(port: int, *, is_https: bool) -> None:
    """Ask for the page once. The first answer takes longest, and the more so beside the import of torch."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    if is_https:  # the certificate is for other names than this address
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=1, context=anybody)
    with contextlib.suppress(OSError, http.client.HTTPException):  # it listens at another address alone
        connection.request("GET", "/")
        connection.getresponse().read()
    connection.close()


def tell(shared: ShareState, *, terminal: bool, closed: bool, tunnelled: bool) -> None:
    """Say once what has become of a share. The links hold keys, so they go to a terminal and into no log.

    `closed`: nobody enters without a session, share or not. `tunnelled`: the link is public."""
    from studio.ui.text import say

    if shared.state == "open" and terminal:
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(shared.ends))
        print(say("share.terminal.links", guest=shared.guest_link, owner=shared.owner_link, until=until), flush=True)
    elif shared.state == "open":
        key = "share.terminal.public" if tunnelled else "share.terminal.network"
        print(say(key, link=shared.address), flush=True)
    else:
        rest = say("share.terminal.closed_here" if closed else "share.terminal.open_here")
        print(say("share.terminal.failed", reason=shared.reason, rest=rest), flush=True)


def main() -> None:
    """Parse, check, serve."""
    flags = parser().parse_args()
    take_space(flags, os.environ)
    check(flags)
    from studio.ui.log import BriefFormatter
    from studio.web.process import Ending, TemporaryFolder, leave

    handler = logging.StreamHandler()
    handler.setFormatter(BriefFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("httpx", "httpcore", "urllib3", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    ending = Ending()
    temporary = TemporaryFolder()
    try:
        quiet_environment(temporary.path)
        serve(flags, temporary, ending)
    except KeyboardInterrupt:  # before the page was there
        temporary.remove()
        leave(130)
    except BaseException:
        temporary.remove()
        raise
    temporary.remove()
    leave()


if __name__ == "__main__":
    main()
