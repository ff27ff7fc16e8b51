"""Several processes from params alone: with `compute.processes` above 1, a training stage starts again as that many copies.

A stage calls `launch` before it does anything else. The first call runs the stage's own command line once for each process,
under torch's elastic agent, waits, and exits as they did; in the copies, which have RANK set, the call returns and
accelerate and the Trainers find each other. `accelerate launch stages/pretrain.py` does the same by hand.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

from genesis.common.errors import UserError

PR_SET_PDEATHSIG = 1


def launch(processes: int, config: str = "") -> None:
    """Return in a stage that is to do the work itself; else run its copies and exit with the first one's code.

    Args:
        processes: one for each GPU; on a CPU-only machine they share the cores and speak through gloo.
        config: a file that `accelerate config` would write (infra/accelerate/), for its FSDP settings; "" for plain data
            parallel training.

    Raises:
        UserError: more processes than GPUs, or a config that is absent or shards nothing.
    """
    if "RANK" in os.environ:
        _die_with_the_launcher()
        return
    if processes <= 1:
        return
    os.environ.update(_environment(processes, config))
    sys.exit(_run(processes))


def _environment(processes: int, config: str) -> dict[str, str]:
    """What the copies need besides torch's own variables."""
    import torch

    gpus = torch.cuda.device_count()
    if gpus and processes > gpus:
        raise UserError(f"compute.processes: {processes}, but this machine has {gpus} GPUs; lower it to {gpus}")
    shared = {} if gpus else {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": str(max(1, _cores() // processes))}
    return {**(sharding(config) if config else {}), **shared}


def sharding(config: str) -> dict[str, str]:
    """The FSDP variables that `accelerate launch --config_file` would set.

    Raises:
        UserError: no such file, one that accelerate refuses, or one without FSDP.
    """
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    if not Path(config).is_file():
        raise UserError(f"compute.accelerate: {config}: no such file; name one of infra/accelerate/")
    try:
        parsed = launch_command_parser().parse_args(["--config_file", config, "--main_process_port", "0", "stage"])
        made = prepare_multi_gpu_env(_validate_launch_command(parsed)[0])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"compute.accelerate: {config}: {str(error).strip().splitlines()[0]}") from error
    if "ACCELERATE_USE_FSDP" not in made:
        raise UserError(
            f"compute.accelerate: {config}: expected distributed_type FSDP; leave it empty to shard nothing"
        )
    return {name: value for name, value in made.items() if name.startswith(("FSDP_", "ACCELERATE_"))}


def _run(processes: int) -> int:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    agent = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"stage-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(agent, sys.executable)(*sys.argv)
    except ChildFailedError as error:  # the first process measures and speaks for all; a signal has a negative code
        failure = error.failures.get(0) or error.get_first_failure()[1]
        return failure.exitcode if failure.exitcode > 0 else 1
    return 0


def _die_with_the_launcher() -> None:
    """Ask Linux to end this copy with its launcher: after a `kill -9` nothing else would, and the copies hold the lock."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
