"""`proxy_search.py` with training that is made up; it stops in the trial that PAUSE_AT names."""

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main():
    sys.path[:0] = [str(ROOT), str(ROOT / "tuning")]
    import proxy_search

    from keras_infnet.search.trials import TrialTraining

    TrialTraining.run = training
    proxy_search.PROGRAM = Path(__file__)
    proxy_search.main()


def training(job, values, share, folder):
    from tests.search.small_search import made_up_training

    if folder.name == f"trial_{os.environ.get('PAUSE_AT')}":
        print(f"in {folder.name}", flush=True)
        signal.pause()
    return made_up_training(job, values, share, folder)


if __name__ == "__main__":
    main()
