"""What `docs/scale.md` shows is what its models say, and the models hold what they promise."""

import re
import subprocess

from fronts import DEPLOY

ROOT = DEPLOY.parent


def test_the_figures_are_those_of_the_models():
    done = subprocess.run([ROOT / "bench/scale", "--check"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_models_unit_costs_are_those_of_the_benchmarks():
    script, bench = (ROOT / "bench/scale").read_text(), (ROOT / "docs/bench.md").read_text()
    unit = {name: float(value) for name, value in re.findall(r"^([A-Z_]+) = ([0-9.]+) ", script, re.M)}
    paced = re.search(r"TheirStack vend, durable ledger \| [0-9,]+ \| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \| ([0-9.]+) \|", bench)
    assert round(float(paced[1])) == unit["VEND_US"]
    assert re.search(r"^\| 10,000 \| [0-9.]+ \| [0-9.]+ \| ([0-9.]+) \|", bench, re.M)[1] == str(unit["ACCOUNT_KIB"])
    whole = re.search(r"64 MiB, S3 GET, vended credential \| 4 \| [0-9.]+ \| [0-9,]+ \| [0-9]+% \| ([0-9,.]+) \|", bench)
    assert abs(float(whole[1].replace(",", "")) / 1000 - unit["GET_MS"]) < 0.1
