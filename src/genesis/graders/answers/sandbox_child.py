"""The child's side of genesis.graders.answers.sandbox: give up rights, run code and tests, report. It runs as a script.

Its start is most of a run's cost, so it imports the smallest modules only. `main` and the hooks keep in local
names what they need once the code runs, because the code may replace anything it can reach by name.
"""

import _thread
import marshal
import os
import resource
import sys

READY = b"ready\n"
# Starts of the names of events; gc and tracing would lead to the token.
REFUSED = (
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "os.kill",
    "pty.",
    "subprocess.",
    "signal.pthread",
    "socket.",
    "ctypes.",
    "fcntl.",
    "resource.setrlimit",
    "resource.prlimit",
    "gc.",
    "sys.addaudithook",
    "sys.setprofile",
    "sys.settrace",
)
# Events that change files: positions of the paths in the event's arguments, each with its folder descriptor's, if any.
CHANGES = {
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.setxattr": ((0, None),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
    "sqlite3.connect": ((0, None),),
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
UNUSED_USERS = range(61184, 65520)  # systemd sets these ids aside for short-lived users


def main() -> None:
    """Read the job from standard input, run it and write the token, or what went wrong, to standard output."""
    job = marshal.loads(_read_all(0))
    report = _silence()
    os.write(report, READY)
    _limit(job)
    _forbid_company()
    _leave_root()
    solution = sys.modules["solution"] = type(sys)("solution")
    audit, execute, write, leave = sys.audit, exec, os.write, os._exit
    sys.addaudithook(_completion(job.pop("token"), sys._getframe(), report))
    sys.addaudithook(_guard_files(os.getcwd(), job["files"]))
    sys.addaudithook(_guard_doors())
    try:
        tests = compile(job["tests"], "<tests>", "exec", dont_inherit=True)
        execute(compile(job["code"], "<code>", "exec", dont_inherit=True), solution.__dict__)
        execute(tests, solution.__dict__)
    except BaseException as error:
        write(report, _described(error, job))
        leave(1)
    audit("genesis.tests_done")


def _completion(token: bytes, frame, report: int):
    """A hook that writes the token when `frame`, which no code under test can be, says that the tests are done.

    The token lives in this closure alone: not in a frame that a traceback leads to, nor in the hook that raises.
    """
    frame_at, write, leave = sys._getframe, os.write, os._exit

    def hook(event: str, args: tuple) -> None:
        if event == "genesis.tests_done" and frame_at(1) is frame:
            write(report, token)
            leave(0)

    return hook


def _guard_doors():
    """A hook that refuses processes, the network and the ways around the other hooks."""
    refused = REFUSED

    def hook(event: str, args: tuple) -> None:
        if event == "socket.__new__" and args[1] == 1:
            return  # AF_UNIX: asyncio makes a pair for itself; connect and bind are refused
        if event.startswith(refused) or (event == "import" and args[0] == "_posixsubprocess"):
            raise PermissionError(f"the sandbox refuses {event}")

    return hook


def _guard_files(folder: str, files: int):
    """A hook that refuses changes outside the folder, more than so many openings for writing, and /proc."""
    real, join, decoded, link, nowhere = os.path.realpath, os.path.join, os.fsdecode, os.readlink, os.devnull
    changes, writes, opened = CHANGES, WRITES, 0

    def inside(path, descriptor: int | None = None) -> bool:
        if isinstance(path, int):
            return True
        base = "" if descriptor in (None, -1) else link(f"/proc/self/fd/{descriptor}")
        place = real(join(base, decoded(path)))
        return place == folder or place.startswith(folder + "/")

    def hook(event: str, args: tuple) -> None:
        nonlocal opened
        if event in changes:
            if not all(inside(args[path], None if at is None else args[at]) for path, at in changes[event]):
                raise PermissionError(f"the sandbox refuses {event} outside its folder")
        elif event == "open":
            path, _, flags = args
            if flags & writes and path != nowhere:
                opened += 1
                if opened > files or not inside(path):
                    raise PermissionError(f"the sandbox refuses to write {path!r}")
            elif not isinstance(path, int) and real(decoded(path)).startswith("/proc/"):
                raise PermissionError(f"the sandbox refuses to read {path!r}")

    return hook


def _limit(job: dict) -> None:
    """Lower the process's limits for good."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NPROC, 0)
    _lower(resource.RLIMIT_AS, job["memory_bytes"])
    _lower(resource.RLIMIT_FSIZE, job["file_bytes"])
    _lower(resource.RLIMIT_NOFILE, job["files"])
    # SIGXCPU comes at the soft limit and tells the time limit from a kill for memory.
    _lower(resource.RLIMIT_CPU, job["cpu_s"], job["cpu_s"] + 1)


def _lower(kind: int, soft: int, hard: int | None = None) -> None:
    ceiling = resource.getrlimit(kind)[1]
    values = [soft, soft if hard is None else hard]
    if ceiling != resource.RLIM_INFINITY:
        values = [min(value, ceiling) for value in values]
    resource.setrlimit(kind, tuple(values))


def _forbid_company() -> None:
    """Refuse what has no audit event: threads, which for users other than root meet RLIMIT_NPROC, and the bare fork.

    The same answer for every user keeps verdicts the same. `subprocess` imports its fork even where it is not used.
    """

    def refuse(*args, **kwargs):
        raise RuntimeError("the sandbox refuses new threads and processes")

    _thread.start_new_thread = _thread.start_new = refuse
    bare = sys.modules["_posixsubprocess"] = type(sys)("_posixsubprocess")
    bare.fork_exec = refuse


def _leave_root() -> None:
    """As root, become a user that owns nothing but the folder; stay where that user could not read Python itself."""
    if os.geteuid() != 0:
        return
    user = UNUSED_USERS[os.getpid() % len(UNUSED_USERS)]
    try:
        os.chown(".", user, user)
        os.setgroups([])
        os.setegid(user)
        os.seteuid(user)
        os.close(os.open(os.__file__, os.O_RDONLY))
        os.listdir(".")
    except OSError:
        os.seteuid(0)
        os.setegid(0)
        return
    os.seteuid(0)
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _silence() -> int:
    """Turn the three standard streams to nowhere; return where the report goes."""
    report = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    return report


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def _described(error: BaseException, job: dict) -> bytes:
    """What went wrong, in one line, with the line of the code or tests where it did."""
    try:
        message = f"{type(error).__name__}: {error}".strip().removesuffix(":").splitlines()[-1]
    except BaseException:
        message = type(error).__name__
    place, step = "", error.__traceback__
    while step:
        name = step.tb_frame.f_code.co_filename
        if name in ("<code>", "<tests>"):
            lines = job[name.strip("<>")].split("\n")
            text = lines[step.tb_lineno - 1].strip() if step.tb_lineno <= len(lines) else ""
            place = f" ({name.strip('<>')} line {step.tb_lineno}: {text[:200]})"
        step = step.tb_next
    status = "memory" if isinstance(error, MemoryError) else "failed"
    return f"{status}\n{message[:500]}{place}".encode("utf-8", "backslashreplace")


if __name__ == "__main__":
    main()
