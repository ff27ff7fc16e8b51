"""The plots that a pull request changed, before and after, as Markdown images."""

from genesis.report.pull_request.sides import Side, head_commit, uncommitted

FOLDER = "reports/plots"
SUFFIXES = (".svg", ".png")
FIRST = ("safety_rates", "rlt_reward", "pretrain_bpb", "agents_unseen_frames")  # what a reviewer looks at first


def changed_pictures(base: Side, head: Side) -> list[str]:
    """Paths of pictures that are new on the head side or differ from the base's, what is looked at first in front."""
    paths = sorted((path for path in head.files(FOLDER) if path.endswith(SUFFIXES)), key=_rank)
    old = base.files(FOLDER)
    return [path for path in paths if path not in old or base.content(path) != head.content(path)]


def markdown(base: Side, head: Side, paths: list[str], repository: str | None) -> str:
    """The images. A comment on GitHub needs whole addresses, so with `repository` (https://github.com/OWNER/NAME) each is
    shown before and after from its commit; without it, the head's is referred to by its path from the root.

    A picture that is not committed has no address: it is named only.
    """
    return "\n\n".join(_picture(base, head, path, repository) for path in paths)


def _picture(base: Side, head: Side, path: str, repository: str | None) -> str:
    name = path.rsplit("/", 1)[-1].rsplit(".", 1)[0].replace("_", " ")
    if repository is None:
        return f"**{name}**\n\n![{name}](./{path})"
    if uncommitted(head.root, path):
        return f"**{name}**: changed, not committed"
    after = f"![{name}, after]({repository}/raw/{head_commit(head.root)}/{path})"
    if base.content(path) is None:
        return f"**{name}** (new)\n\n{after}"
    before = f"![{name}, before]({repository}/raw/{base.commit}/{path})"
    return f"| {name}, before | after |\n| --- | --- |\n| {before} | {after} |"


def _rank(path: str) -> tuple[int, str]:
    name = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return FIRST.index(name) if name in FIRST else len(FIRST), path
