"""Set up the project on Linux, macOS or Windows: a Python, `.venv`, the pinned packages, `.env`, compiled kernels.

Needs nothing but a Python 3.8 or newer to start with; the project itself runs on 3.12 or 3.13. Running it again is
quick: nothing is done twice. Usage: python3 setup_environment.py [--dev]
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
SUPPORTED = ((3, 12), (3, 13))
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dev", action="store_true", help="also install what the tests need")
    arguments = parser.parse_args()
    lock = ROOT / ("requirements-dev.lock" if arguments.dev else "requirements.lock")
    if not is_supported(PYTHON):
        make_venv()
    install(lock)
    write_env()
    check_libraries()
    compile_kernels()


def is_supported(python):
    """Whether `python` runs and is a supported version."""
    try:
        code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False, cwd=str(ROOT))
    except OSError:
        return False
    words = done.stdout.split()
    return done.returncode == 0 and len(words) == 2 and tuple(map(int, words)) in SUPPORTED


def make_venv():
    names = ["python3.12", "python3.13", "python3", "python"]
    candidates = [sys.executable] + [found for found in map(shutil.which, names) if found]
    python = next((found for found in candidates if is_supported(found)), None)
    if python is None:
        fail(
            "no Python 3.12 or 3.13 (with venv) was found.\n"
            "  Debian/Ubuntu: apt-get install python3.12 python3.12-venv    macOS: brew install python@3.12\n"
            "  Windows: winget install Python.Python.3.12                   any: pyenv install 3.12"
        )
    say("making .venv with " + python)
    if VENV.exists():
        shutil.rmtree(str(VENV))
    run([python, "-m", "venv", str(VENV)])


def install(lock):
    """Install the packages of `lock` and the project itself, unless exactly that was done before."""
    stamp = VENV / ("installed-" + lock.name)
    wanted = hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + bytes(VENV)).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("installing " + lock.name + " (hash-checked; a few minutes the first time)")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(pip + ["--require-hashes", "-r", str(lock)])
    run(pip + ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    stamp.write_text(wanted)


def write_env():
    """Make `.env` from the example if there is none, and name the folders that plain `dagster dev` needs."""
    env = ROOT / ".env"
    text = env.read_text(encoding="utf-8") if env.exists() else (ROOT / ".env.example").read_text(encoding="utf-8")
    state = ROOT / ".quant" / "dagster"
    needed = {"QUANT_DAGSTER_STATE": str(state), "DAGSTER_HOME": str(ROOT)}
    kept = [line for line in text.splitlines() if line.split("=", 1)[0].strip() not in needed]
    wanted = "\n".join(kept + [name + "=" + value for name, value in needed.items()]) + "\n"
    if not env.exists() or env.read_text(encoding="utf-8") != wanted:
        env.write_text(wanted, encoding="utf-8")
        env.chmod(0o600)
    state.mkdir(parents=True, exist_ok=True)


def check_libraries():
    """LightGBM needs the system's OpenMP library; say so here rather than in the middle of a run."""
    done = subprocess.run([str(PYTHON), "-c", "import lightgbm.basic"], capture_output=True, text=True, check=False)
    if done.returncode != 0 and ("gomp" in done.stderr or "omp" in done.stderr.lower()):
        fail(
            "LightGBM cannot load the OpenMP library.\n"
            "  Debian/Ubuntu: apt-get install libgomp1    Fedora: dnf install libgomp    macOS: brew install libomp"
        )


def compile_kernels():
    """Compile what decides and trades, as pip compiles what it installs: the first start does not wait for it then."""
    run([str(PYTHON), "-m", "quant_pipeline.runtime.compile_kernels", str(ROOT / ".quant")])


def run(command):
    done = subprocess.run(command, check=False, cwd=str(ROOT))
    if done.returncode != 0:
        fail("this failed: " + " ".join(command))


def say(text):
    sys.stderr.write("setup: " + text + "\n")


def fail(text):
    sys.stderr.write("setup: " + text + "\n")
    raise SystemExit(1)


if __name__ == "__main__":
    main()
