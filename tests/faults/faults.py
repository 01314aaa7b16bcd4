"""What goes wrong on command: the disk, its syncs, the clock. `shim.c` does it inside the server."""

import errno
import mmap
import pathlib
import shutil
import signal
import struct
import subprocess
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
# The fields of `struct commands` in shim.c, in its order, 8 bytes each; then `below` and `only`.
FIELDS = ["wall_ns", "ticks_ns", "write_errno", "sync_errno", "hold_syncs", "kill_at_sync"]
FIELDS += ["failed_writes", "failed_syncs", "held_syncs", "syncs", "open_reads", "accepted"]
BELOW, ONLY = (8 * len(FIELDS), 1024), (8 * len(FIELDS) + 1024, 256)
SECOND = 1_000_000_000


def until(what, secs: float = 20):
    """Asks until the answer is true, and returns it: where nothing tells that something has come about. The time is how long
    it may take at the most."""
    end = time.monotonic() + secs
    while not (answer := what()):
        if time.monotonic() > end:
            pytest.fail(f"not within {secs} s: {what}")
        time.sleep(0.01)
    return answer


def compiled(directory: pathlib.Path) -> pathlib.Path:
    """The shim, made of its source."""
    shim = directory / "shim.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", shim, HERE / "shim.c", "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return shim


class Faults:
    """What the shim of one server does; nothing, at first. Fields can be set and read at any time."""

    def __init__(self, path: pathlib.Path, below: pathlib.Path):
        size = BELOW[1] + ONLY[0]
        path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            object.__setattr__(self, "memory", mmap.mmap(file.fileno(), size))
        object.__setattr__(self, "path", path)
        self._text(BELOW, str(below))

    def _text(self, field: tuple[int, int], text: str) -> None:
        at, size = field
        self.memory[at : at + size] = text.encode().ljust(size, b"\0")

    def __getattr__(self, name: str) -> int:
        return struct.unpack_from("q", self.memory, 8 * FIELDS.index(name))[0]

    def __setattr__(self, name: str, value: int) -> None:
        struct.pack_into("q", self.memory, 8 * FIELDS.index(name), value)

    def only(self, part: str) -> None:
        """Files with this in their path, and no others."""
        self._text(ONLY, part)

    def at(self, directory: pathlib.Path) -> None:
        """Files of this directory, and no others."""
        self._text(BELOW, str(directory))

    def tick(self, secs: float) -> None:
        """The clock of deadlines goes forward at once: what waited until then is over with the next event."""
        self.ticks_ns += round(secs * SECOND)

    def step_clock(self, secs: float) -> None:
        """The wall clock alone is set, forward or back."""
        self.wall_ns += round(secs * SECOND)

    def forget(self) -> None:
        """What was counted of a process that is gone."""
        self.open_reads = self.held_syncs = 0

    def mend(self) -> None:
        """The disk does again what it is told."""
        self.write_errno = self.sync_errno = self.hold_syncs = self.kill_at_sync = 0
        self.only("")


class ToldDisk:
    """A disk of which the shim says that it is full: works everywhere. Nothing at all can be written to it then."""

    def __init__(self, faults: Faults):
        self.faults = faults

    def fill(self) -> None:
        self.faults.write_errno = errno.ENOSPC

    def empty(self) -> None:
        self.faults.write_errno = 0


class SmallDisk:
    """A file system of its own that really is full: takes the right to mount."""

    def __init__(self, path: pathlib.Path, mib: int):
        self.path, self.ballast = path, path / "ballast"
        path.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "valetkey-faults", path], check=True)

    def fill(self) -> None:
        with self.ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                while True:
                    try:
                        if file.write(bytes(size)) < size:
                            break
                    except OSError as error:
                        assert error.errno == errno.ENOSPC, error
                        break

    def empty(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)

    @staticmethod
    def possible(directory: pathlib.Path) -> bool:
        """Whether this process may mount."""
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "valetkey-faults", directory]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            return False
        subprocess.run(["umount", directory], check=True)
        return True


def killed(process: subprocess.Popen) -> None:
    """The process ends here and now."""
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def memory(process: subprocess.Popen) -> int:
    """Bytes of memory that it holds."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))
