"""Every benchmark, one after another, each in a process of its own: python benchmarks/all.py

It needs PyTorch and this package, installed or not. What else is not there is left out, and it says so. The
figures go to benchmarks/results/, named after the machine. Let nothing else run meanwhile.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SAVED = ("decode", "context", "prefill", "batch", "flash_attention")
PRINTED = ("loading", "tokenizer", "lab")


def main() -> None:
    """Run them all; one that fails does not keep the others from running."""
    paths = (str(HERE.parent), os.environ.get("PYTHONPATH", ""))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    failed = []
    for name in (*SAVED, *PRINTED):
        print(f"\n\033[1m==> {name}\033[0m", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), *(["--save"] if name in SAVED else [])]
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
