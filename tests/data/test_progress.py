import io

import pytest

from keras_infnet.data.progress import Progress

pytestmark = pytest.mark.one_backend


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_has_rate_and_remaining_time():
    clock, stream = Clock(), io.StringIO()
    progress = Progress("reading", "rows", 10_000, stream=stream, clock=clock)
    clock.seconds = 10
    progress.add(2_000)
    assert stream.getvalue() == "reading: 2,000 of 10,000 rows, 200 a second, 40 s left\n"
    clock.seconds = 11
    progress.add(1_000)
    assert stream.getvalue().count("\n") == 1
    clock.seconds = 120
    progress.add(7_000)
    progress.close()
    last = stream.getvalue().splitlines()[-1]
    assert last == "reading: 10,000 of 10,000 rows, 83 a second, 2.0 min"


def test_what_was_finished_before_does_not_count_for_the_rate():
    clock = Clock()
    progress = Progress("reading", "rows", 10_000, stream=io.StringIO(), clock=clock)
    progress.add(8_000, timed=False)
    clock.seconds = 1
    progress.add(10)
    assert str(progress) == "reading: 8,010 of 10,000 rows, 10 a second, 3.3 min left"
    clock.seconds = 2
    progress.add(0)
    assert str(progress).endswith("5 a second, 6.6 min left")
    clock.seconds = 100
    assert str(progress).endswith("5.5 h left")


def test_a_terminal_has_one_line_that_moves():
    clock, stream = Clock(), Terminal()
    progress = Progress("reading", "rows", stream=stream, clock=clock)
    for clock.seconds in (1, 2):
        progress.add(5)
    progress.close()
    assert stream.getvalue().count("\r") == 3 and stream.getvalue().count("\n") == 1
    assert "reading: 10 rows, 5 a second, 2 s" in stream.getvalue()


def test_nothing_is_shown_unless_wanted():
    stream = io.StringIO()
    progress = Progress("reading", "rows", show=False, stream=stream)
    progress.add(5)
    progress.close()
    assert stream.getvalue() == ""
