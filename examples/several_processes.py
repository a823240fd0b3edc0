"""One model trained by several processes, which speak over the loopback network.

Run `python examples/several_processes.py --backend jax` (`keras.distribution`) or `--backend
tensorflow` (`MultiWorkerMirroredStrategy`). Each process reads its own part of prepared shards. The
losses are compared with those of one process on the same batches; the script fails if they differ.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

TOLERANCE = 1e-5


def main() -> None:
    """Prepares a simulated log, trains with one and with several processes, and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("jax", "tensorflow"), default="jax")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--model", default="INFNet", help="name in keras_infnet.models.MODELS")
    parser.add_argument("--rows", type=int, default=20_000, help="rows to simulate")
    parser.add_argument("--batch-size", type=int, default=256, help="rows of all processes' batch")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one training")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("several_processes: terminated"))
    try:
        with tempfile.TemporaryDirectory() as folder:
            one, several = run(args, Path(folder))
    except (OSError, ValueError) as error:
        sys.exit(f"several_processes: {error}")
    print(f"step | one process | {args.processes} processes")
    for step, losses in enumerate(zip(one, several, strict=True), 1):
        print(f"{step:4} | {losses[0]:.7f}   | {losses[1]:.7f}")
    difference = max(abs(a - b) for a, b in zip(one, several, strict=True))
    print(f"largest difference {difference:.1e}")
    if not difference <= TOLERANCE:
        sys.exit(f"several_processes: the losses differ by {difference:.1e}, over {TOLERANCE:.0e}")


def run(args: argparse.Namespace, folder: Path) -> tuple[list[float], list[float]]:
    """Running losses of one process and of several."""
    if args.processes < 2 or args.batch_size % args.processes:
        raise ValueError(
            f"--processes must be 2 or more, and --batch-size a multiple of it. Received: "
            f"{args.processes} and {args.batch_size}"
        )
    os.environ["KERAS_BACKEND"] = args.backend
    # Imported here: Keras reads its backend from the environment.
    import keras_infnet

    keras_infnet.datasets.simulate(folder / "log", args.rows)
    log = keras_infnet.datasets.KuaiRand(folder / "log", tasks=("click", "like"))
    keras_infnet.data.prepare(
        log.schema(), log.frames(), folder / "prepared", partitions=8, verbose=False
    )
    one, several = (train(args, folder, n) for n in (1, args.processes))
    if any(losses != several[0] for losses in several):
        raise ValueError(f"the processes report different losses: {several}")
    return one[0], several[0]


def train(args: argparse.Namespace, folder: Path, processes: int) -> list[list[float]]:
    """Starts the processes and gives the losses that each of them reports."""
    settings = {
        "folder": str(folder / "prepared"),
        "model": args.model,
        "parts": args.processes,
        "rows": args.batch_size // args.processes,
        "steps": args.steps,
        "addresses": [f"127.0.0.1:{port}" for port in free_ports(processes)],
    }
    worker = Path(__file__).with_name("several_processes_worker.py")
    with ExitStack() as files:
        outputs = [folder / f"{processes}-{i}.json" for i in range(processes)]
        logs = [files.enter_context(open(o.with_suffix(".log"), "w+")) for o in outputs]
        commands = [
            [sys.executable, str(worker), json.dumps({**settings, "index": i}), str(output)]
            for i, output in enumerate(outputs)
        ]
        started = [
            subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            for command, log in zip(commands, logs, strict=True)
        ]
        failed = wait_for_all(started, args.timeout)
        if failed is not None:
            logs[failed].seek(0)
            raise OSError(
                f"process {failed} of {processes} failed, or took more than {args.timeout:g} "
                f"seconds:\n{logs[failed].read()[-3000:]}"
            )
    return [json.loads(output.read_text(encoding="utf-8")) for output in outputs]


def wait_for_all(processes: list[subprocess.Popen], seconds: float) -> int | None:
    """Waits until all have ended well; kills all if one fails or is late, and gives its number."""
    end = time.monotonic() + seconds
    try:
        while any(process.poll() != 0 for process in processes):
            for number, process in enumerate(processes):
                late = process.poll() is None and time.monotonic() > end
                if late or process.poll() not in (None, 0):
                    return number
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return None


def free_ports(number: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with ExitStack() as sockets:
        found = [sockets.enter_context(socket.socket()) for _ in range(number)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


if __name__ == "__main__":
    main()
