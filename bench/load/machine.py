"""The machine: processes pinned to cores, what they use of it, and load from wrk."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).parent
SERVER_CORE, LOAD_CORE = "0", "1"
TICKS = os.sysconf("SC_CLK_TCK")

# Whether servers and load run ahead of everything else on the machine. By weight and not in real time: a server's threads
# still have to share their core fairly, as they do in production.
ahead = False
# With autogroups the kernel weighs sessions, not processes; each command is started as its own session.
AHEAD = ["nice", "-n", "-19", "sh", "-c", 'echo -19 2>/dev/null >/proc/self/autogroup; exec "$@"', "sh"]


def need(program, package):
    """Finds a program, or installs its Debian package when root may."""
    if shutil.which(program):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(f"`{program}` is missing; install it (Debian: apt-get install {package})")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", package], check=True, stdout=subprocess.DEVNULL)


def pinned(core, command):
    """The command that runs a command on one core."""
    return [*(AHEAD if ahead else []), "taskset", "-c", core, *map(str, command)]


class Server:
    """A server on its core; the first line it prints is kept in `said`."""

    core = SERVER_CORE

    def __init__(self, command, env=None, log=subprocess.DEVNULL):
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            pinned(self.core, command), env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=log,
            text=True, start_new_session=True)

    def wait_ready(self):
        """Waits for the first line and says how long that took, in milliseconds."""
        self.said = self.process.stdout.readline().strip()
        if not self.said:
            raise SystemExit(f"{self.process.args} ended before it was ready (status {self.process.wait()})")
        return (time.perf_counter() - self.began) * 1e3

    def __enter__(self):
        self.wait_ready()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends the server as an operator would."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def cpu_secs(self):
        """User and system time so far, of all its threads."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat[stat.rindex(")") + 2:].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mib(self):
        """Resident memory: all of it, and what of it is not merely mapped from files."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        kib = {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "RssAnon")}
        return {"resident": kib["VmRSS"] / 1024, "own": kib["RssAnon"] / 1024}

    def load(self, url, requests, connections, secs, pause_ms=0):
        """Loads a server and returns what happened: rates, latencies, and its CPU time for each request."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{secs}s", "--timeout", "20s", "--latency", "-s", HERE / "replay.lua", url]
        env = {**os.environ, "LOAD_DIR": str(HERE), "REQUESTS": str(requests), "PAUSE_MS": str(pause_ms)}
        cpu, busy, began = self.cpu_secs(), busy_secs(), time.perf_counter()
        ran = subprocess.run(pinned(LOAD_CORE, command), env=env, capture_output=True, text=True, timeout=secs + 60, start_new_session=True)
        took = time.perf_counter() - began
        used, all_used = self.cpu_secs() - cpu, busy_secs() - busy
        summary = re.search(r"@@(\{.*\})", ran.stdout)
        if not summary:
            raise SystemExit(f"wrk failed: {ran.stdout}{ran.stderr}")
        row = json.loads(summary[1])
        if row["broken"] or row["bad"] * 2 > row["requests"] or not row["requests"]:
            raise SystemExit(f"{row['requests']} requests to {url}: {row['bad']} refused, {row['broken']} connections broken")
        return {
            "connections": connections,
            "requests": row["requests"],
            "rate": (row["requests"] - row["bad"]) / row["secs"],
            "refused": row["bad"] / row["requests"],
            "mib_per_sec": row["bytes"] / row["secs"] / 2**20,
            "bytes_each": row["bytes"] / row["requests"],
            "cpu_us": used / row["requests"] * 1e6,
            "server_cores": used / took,
            "machine_cores": all_used / took,
            **{name: row[name] for name in ("p50", "p99", "p999")},
        }


def busy_secs():
    """Time all cores were busy so far, whoever with."""
    with open("/proc/stat") as stat:
        fields = [int(field) for field in stat.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def description():
    """What the figures were measured on."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    version = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()
    return {
        "cpu": re.search(r"model name\s*: (.*)", text)[1],
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**20),
        "kernel": os.uname().release,
        "rustc": version[1] if len(version) > 1 else "",
        "load_before": os.getloadavg()[0],
        "ahead": ahead,
    }
