"""`serve` puts a model behind an address; `keys` says who may ask it."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from learner.cli.printing import AsJson, out, print_json, table_of
from learner.errors import ThawError
from learner.exports import USUAL_COVERAGE
from learner.serving.keys import Keys
from learner.terminal import err, telling
from learner.workspace import Workspace

LOOPBACK = ("127.0.0.1", "::1", "localhost")

KeysFile = Annotated[
    Path | None, typer.Option("--keys", help="The file that holds them.", show_default="the workspace's")
]
keys = typer.Typer(help="API keys of served models.", no_args_is_help=True)


def serve(
    model: Annotated[str, typer.Argument(metavar="RUN_OR_FILE", help="A run's id, or an exported model.onnx.")],
    port: Annotated[
        int, typer.Option(envvar="PORT", min=0, max=65535, help="Where it listens; 0: any free one.")
    ] = 8600,
    host: Annotated[
        str, typer.Option(help="The address it listens on; 0.0.0.0: all of this machine, which needs a key or --open.")
    ] = "127.0.0.1",
    open_: Annotated[bool, typer.Option("--open", help="Let everybody ask who can reach it, without a key.")] = False,
    keys_file: KeysFile = None,
    cors: Annotated[
        list[str] | None, typer.Option(help="Let web pages of this origin ask, e.g. https://shop.example. Repeatable.")
    ] = None,
    coverage: Annotated[
        float,
        typer.Option(min=0.5, max=1, help='Share of images like the validation images that is not "none of these".'),
    ] = USUAL_COVERAGE,
    batch: Annotated[int, typer.Option(min=1, max=256, help="Most images that are computed together.")] = 8,
    max_mb: Annotated[int, typer.Option(min=1, max=1000, help="Largest request, in megabytes.")] = 20,
    max_images: Annotated[int, typer.Option(min=1, max=1000, help="Most images in one request.")] = 32,
    threads: Annotated[
        int, typer.Option(min=0, max=256, help="Cores that one answer may use.", show_default="all")
    ] = 0,
) -> None:
    """Answer questions over HTTP: POST /v1/predict, and a page at /docs to try it. Loads no torch."""
    known = _keys(keys_file)
    if host not in LOOPBACK and not known.exist and not open_:
        raise ThawError(
            f"At {host} others can reach it, and there is no API key yet. Make one: python -m learner keys add NAME. "
            "If everybody who can reach it may ask it: --open"
        )
    from learner.serving import server
    from learner.serving.app import THIS_MACHINE, Settings, create_app
    from learner.serving.model import ServedModel
    from learner.serving.opening import onnx_of

    with server.listening(host, port) as bound:
        with telling("Opening the model") as tell:
            opened = onnx_of(model, coverage, tell)
            served = ServedModel(opened.file, threads)
        settings = Settings(
            max_bytes=max_mb * 1_000_000,
            max_images=max_images,
            batch=batch,
            cors=tuple(cors or ()),
            hosts=None if open_ else (*THIS_MACHINE, *_named_hosts()),
        )
        sentence = f"Serving {opened.name} ({served.sentence()})."
        announce = server.announcing(_tell, sentence, bound)
        server.run(create_app(served, opened.name, None if open_ else known, settings, announce), bound)


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Whose it is, such as a program or a person.")],
    keys_file: KeysFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once, as only its hash is kept."""
    key = _keys(keys_file).add(name)
    if as_json:
        print_json({"name": name, "key": key})
        return
    out.print(key, markup=False)
    err.print("Keep it: it is not shown again. Send it as  Authorization: Bearer KEY", markup=False)


@keys.command("list")
def list_keys(keys_file: KeysFile = None, as_json: AsJson = False) -> None:
    """Whose keys there are."""
    known = _keys(keys_file).all()
    if as_json:
        print_json({"keys": [{"name": one.name, "made_at": one.made_at} for one in known]})
        return
    if not known:
        out.print("There are no keys. Make one: python -m learner keys add NAME")
        return
    table = table_of("Name", "Made (UTC)")
    for one in known:
        table.add_row(one.name, f"{datetime.fromtimestamp(one.made_at, UTC):%Y-%m-%d %H:%M}")
    out.print(table)


@keys.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="Whose.")], keys_file: KeysFile = None) -> None:
    """Let a key open nothing any more, from now on, in servers that run too."""
    _keys(keys_file).revoke(name)
    out.print(f"The key of {name} opens nothing any more.", markup=False)


def _keys(file: Path | None) -> Keys:
    return Keys(file.expanduser() if file else Workspace.current().api_keys)


def _tell(text: str) -> None:
    err.print(text, markup=False)


def _named_hosts() -> list[str]:
    return [name.strip() for name in os.environ.get("THAW_HOSTS", "").split(",") if name.strip()]


def add_to(app: typer.Typer) -> None:
    """Make the commands `app`'s."""
    app.command()(serve)
    app.add_typer(keys, name="keys")
