"""Name the store that results are shared through, and look after it: python -m genesis remote s3://BUCKET/PATH --check.

DVC pushes and pulls by itself; this adds what it leaves out. The store is written down with `verify`, without which a pull
takes a damaged object for a whole one. `--check` fails where `dvc repro --pull` would train again without a word: wrong
credentials, a missing bucket, objects that were never pushed; `--hash` also reads every object and names the damaged ones.
"""

import argparse
import contextlib
import hashlib
from dataclasses import dataclass

from genesis.common.errors import UserError

NAME = "storage"
PIECE = 2**20


@dataclass(frozen=True)
class Stored:
    """One file that this commit wants from the remote: its hash, where it lies, and where the list of its folder lies."""

    file: str
    oid: str
    where: str
    folder: str | None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("url", nargs="?", help="s3://BUCKET/PATH, or anything else that DVC knows; becomes the default")
    parser.add_argument("--endpoint", help="address of an S3-compatible store (MinIO, R2, Ceph, …)")
    parser.add_argument("--region", help="region of the bucket")
    parser.add_argument("--profile", help="profile of ~/.aws/credentials")
    parser.add_argument(
        "--check", action="store_true", help="reach it, and look for every object that this commit names"
    )
    parser.add_argument("--hash", action="store_true", help="read these objects, too, and compare their hashes")
    parser.add_argument("--drop-damaged", action="store_true", help="delete what --hash finds damaged")


def run(args: argparse.Namespace) -> None:
    """Write the store into .dvc/config where a URL is given; check it where asked.

    Raises:
        UserError: no store to speak of, one that cannot be reached, objects that are missing or damaged.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        if args.url:
            with Repo() as repo:
                configure(repo, args.url, endpointurl=args.endpoint, region=args.region, profile=args.profile)
            print(f"remote {NAME}: {args.url} (default; hashes are verified on pull)")
        if args.check or args.hash or args.drop_damaged or not args.url:
            with Repo() as repo:
                check(repo, hashes=args.hash or args.drop_damaged, drop=args.drop_damaged)
    except DvcException as error:
        raise UserError(f"remote: {error}") from error


def configure(repo, url: str, **options: str | None) -> None:
    """Make `url` the default remote in .dvc/config, which git keeps; credentials never go there."""
    with repo.config.edit("repo") as config:
        config["remote"][NAME] = {"url": url, "verify": True, **{k: v for k, v in options.items() if v}}
        config["core"]["remote"] = NAME


def check(repo, hashes: bool, drop: bool) -> None:
    """Print how many of this commit's objects are on the default remote.

    Raises:
        UserError: see `run`.
    """
    store = repo.cloud.get_remote_odb(None, "check", hash_name="md5")
    where = store.fs.unstrip_protocol(store.path)
    try:
        reach(store, where)
        objects = wanted(repo, store)
        present = set(store.oids_exist({stored.oid for stored in objects}))
        missing = [stored for stored in objects if stored.oid not in present]
        bad = {oid for oid in present if hashes and not whole(store, oid)}
        damaged = [stored for stored in objects if stored.oid in bad]
        if drop:
            delete(store, damaged)
    except Exception as error:  # botocore's and s3fs's errors share no base
        raise UserError(f"remote: {where}: {cause(error)}") from error
    if damaged:
        advice = "deleted there: dvc push" if drop else "add --drop-damaged, then dvc push"
        raise UserError(f"remote: {listed(damaged)} damaged; {advice} from a clone that has them whole")
    if missing:
        raise UserError(f"remote: {listed(missing)} not at {where}; dvc push from a clone that has them")
    if not repo.config["remote"][repo.config["core"]["remote"]].get("verify"):
        raise UserError("remote: a damaged object would go unseen; dvc remote modify REMOTE verify true")
    print(
        f"remote: {len(objects)} files and folders of this commit at {where}, {'all whole' if hashes else 'all present'}"
    )


def reach(store, where: str) -> None:
    """List the store's folder; one that does not exist yet is an empty store, a bucket that does not is an error."""
    try:
        store.fs.ls(store.path)
    except FileNotFoundError as error:
        if store.path not in str(error):
            raise


def wanted(repo, store) -> list[Stored]:
    """Every cached output of this commit, folders file by file; a folder whose list is absent or damaged stands alone."""
    from dvc_data.hashfile.db import ObjectFormatError
    from dvc_data.hashfile.tree import Tree

    found = []
    for out in repo.index.outs:
        if not out.use_cache or not out.hash_info:
            continue
        place = store.oid_to_path(out.hash_info.value)
        found.append(Stored(str(out), out.hash_info.value, place, None))
        if out.hash_info.isdir:
            with contextlib.suppress(FileNotFoundError, ObjectFormatError):
                for key, _, info in Tree.load(store, out.hash_info, hash_name="md5"):
                    found.append(Stored("/".join([str(out), *key]), info.value, store.oid_to_path(info.value), place))
    return found


def delete(store, damaged: list[Stored]) -> None:
    """Delete objects and their folders' lists: while a list stands there, DVC believes all its files do and sends none."""
    places = {stored.where for stored in damaged} | {stored.folder for stored in damaged if stored.folder}
    for place in sorted(places):
        store.fs.remove(place)


def whole(store, oid: str) -> bool:
    """Whether an object's bytes have the hash it is named by."""
    digest = hashlib.md5(usedforsecurity=False)
    with store.fs.open(store.oid_to_path(oid), "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest() == oid.removesuffix(".dir")


def cause(error: Exception) -> str:
    """What went wrong, and what to do about it."""
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, PermissionError) or "credentials" in said.lower():
        return (
            f"{said}; check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or dvc remote modify --local)"
        )
    if isinstance(error, FileNotFoundError):
        return f"{said}; create the bucket, or mend the URL: dvc remote modify {NAME} url s3://BUCKET/PATH"
    return f"{said}; check the network and the endpoint (dvc remote modify {NAME} endpointurl URL), then try again"


def listed(objects: list[Stored]) -> str:
    """The first files with their places, and how many there are."""
    first = ", ".join(f"{stored.file} ({stored.where})" for stored in objects[:3])
    return f"{len(objects)} file{'s' if len(objects) != 1 else ''}: {first}{', …' if len(objects) > 3 else ''}"
