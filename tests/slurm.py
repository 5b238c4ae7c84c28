"""A real SLURM of one node and eight GPUs that are none, made of Debian's packages and gone after the tests.

No systemd, control groups, munge or database; only this machine reaches it. The executor's job steps drop SLURM_CONF,
so its files have to be found in /etc/slurm: where a SLURM is configured already, nothing is touched.
"""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

GPUS = 8
PROGRAMS = ["slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue"]
CONFIGURED = Path("/etc/slurm")
NAME = "opdlm-test-slurm"
"""Part of the name of our folders: by it a link that a killed run has left is known as ours."""

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
# The node claims what the profile asks for, whatever this machine has.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=256 RealMemory=2000000 Gres=gpu:h200:{gpus} State=UNKNOWN
PartitionName=everyone Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=accelerated Nodes={host} MaxTime=INFINITE State=UP
# A finished job is remembered for an hour.
MinJobAge=3600
GresTypes=gpu
"""


class NoSlurmError(Exception):
    """Why there is no SLURM here."""


def wait_for(holds: Callable[[], bool], what: str, seconds: float) -> None:
    """Look twenty times a second.

    Raises:
        TimeoutError: it has not come true in so many seconds.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} seconds")
        time.sleep(0.05)


def output(*command: str) -> str:
    """What a program of SLURM prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def jobs() -> list[dict[str, str]]:
    """SLURM's own record of all jobs, the oldest first."""
    lines = output("scontrol", "--oneliner", "--details", "show", "job").splitlines()
    found = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if line.startswith("JobId=")]
    return sorted(found, key=lambda job: int(job["JobId"]))


def gpus(job: dict[str, str]) -> int:
    """How many GPUs a job was given."""
    given = re.fullmatch(r"gpu:\w+:(\d+)", job["JOB_GRES"])
    return int(given[1]) if given else 0


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Runs while the context lasts.

    Args:
        folder: of the cluster's files; its name must hold `NAME`.

    Raises:
        NoSlurmError: it cannot be started here.
    """
    _check()
    with ExitStack() as undo:
        _configure(folder, undo)
        for daemon in (["slurmctld", "-D", "-i"], ["slurmd", "-D"]):
            _start(daemon, folder, undo)
        try:
            wait_for(_idle, "an idle node", 20)
        except TimeoutError as error:
            logs = [line for path in folder.glob("slurm*.log") for line in path.read_text().splitlines()[-3:]]
            raise NoSlurmError(f"SLURM's node does not come up: {error}; {'; '.join(logs)}") from None
        undo.callback(_cancel_all)
        yield


def _check() -> None:
    if os.geteuid() != 0:
        raise NoSlurmError("SLURM's daemons need root")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise NoSlurmError(f"{', '.join(missing)} missing: apt-get install slurmctld slurmd slurm-client")
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        raise NoSlurmError("the SLURM executor of Snakemake is not installed")


def _configure(folder: Path, undo: ExitStack) -> None:
    host = socket.gethostname().partition(".")[0]
    for part in ("state", "spool", "dev"):
        (folder / part).mkdir()
    numbers = {"controller_port": _free_port(), "node_port": _free_port(), "gpus": GPUS}
    (folder / "slurm.conf").write_text(SLURM_CONF.format(host=host, folder=folder, **numbers))
    devices = "".join(f"NodeName={host} Name=gpu Type=h200 File={path}\n" for path in _devices(folder / "dev"))
    (folder / "gres.conf").write_text(devices)
    if not CONFIGURED.exists():
        CONFIGURED.mkdir()
        undo.callback(CONFIGURED.rmdir)
    for name in ("slurm.conf", "gres.conf"):
        link = CONFIGURED / name
        if link.is_symlink() and NAME in os.readlink(link) and not _alive(Path(os.readlink(link)).parent):
            link.unlink()
        if os.path.lexists(link):
            raise NoSlurmError(f"{link} exists: a SLURM is configured on this machine")
        link.symlink_to(folder / name)
        undo.callback(link.unlink)
    _make_known(host, undo)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _devices(folder: Path) -> list[Path]:
    """Character devices in place of GPUs; others are refused, and without any no job is told which are its own."""
    made = [folder / f"gpu{number}" for number in range(GPUS)]
    try:
        for path in made:
            os.mknod(path, 0o20666, os.makedev(1, 3))
    except PermissionError:  # in a container
        others = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts/ptmx"]
        return [Path("/dev") / name for name in others]
    return made


def _alive(folder: Path) -> bool:
    """Whether the cluster in a folder is running."""
    try:
        os.kill(int((folder / "slurmctld.pid").read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def _make_known(host: str, undo: ExitStack) -> None:
    """The host needs an address. Line added to /etc/hosts, and taken away again, where it has none."""
    try:
        socket.gethostbyname(host)
    except OSError:
        hosts, line = Path("/etc/hosts"), f"127.0.0.1 {host}\n"
        with hosts.open("a") as file:
            file.write(line)
        undo.callback(lambda: hosts.write_text(hosts.read_text().replace(line, "")))


def _idle() -> bool:
    """Whether the node is ready; the controller does not answer at once."""
    asked = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, timeout=60)
    return asked.stdout.split()[:1] == ["idle"]


def _start(command: list[str], folder: Path, undo: ExitStack) -> None:
    with open(folder / f"{command[0]}.out", "w") as out:
        daemon = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    undo.callback(_end, daemon)


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _cancel_all() -> None:
    """Cancel what is left over by a failed test, and wait until it is gone."""
    try:
        output("scancel", "--user=root", "--quiet")
        wait_for(lambda: not output("squeue", "--noheader").strip(), "an empty queue", 60)
    except (TimeoutError, subprocess.SubprocessError):
        pass  # the controller is gone, and a job that outlives it ends with its step
