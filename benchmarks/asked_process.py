"""Processes that are kept alive and asked by a pipe: a line of JSON each way."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Failed(Exception):
    """What a process could not do, in its own words."""


class AskedProcess:
    """A process that runs `answer_questions`.

    Args:
        name: What errors call it.
        program: Interpreter and arguments.
        environment: Its environment.
    """

    def __init__(self, name: str, program: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name, self._errors = name, tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            program,
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """The answer to a question.

        Raises:
            Failed: The process raised an error, or ended.
        """
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self._process.wait()
            raise Failed(f"{self.name}: its process ended ({code}): {self._last_error()}")
        found = json.loads(answer)
        if "error" in found:
            raise Failed(f"{self.name}: {found['error']}")
        return found

    def close(self) -> None:
        """Ends the process, which gives all memory back."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


def answer_questions(made: Callable[[], Callable[..., dict[str, Any]]]) -> None:
    """Answers the questions of standard input until it ends.

    Args:
        made: Makes what answers, a function of `do` and further names.
    """
    # What libraries print must not come between answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ask = made()
    for line in sys.stdin:
        try:
            answer = ask(**json.loads(line))
        # What a library can't do is an answer too, and the next question may do better.
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
