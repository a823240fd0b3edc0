"""Public logs and the simulator: frames, schemas and splits."""

from keras_infnet.datasets.census_income import CensusIncome
from keras_infnet.datasets.complete_journey import CompleteJourney
from keras_infnet.datasets.ebnerd import EBNeRD
from keras_infnet.datasets.kuairand import KuaiRand
from keras_infnet.datasets.movielens import MovieLens
from keras_infnet.datasets.qb_video import QBVideo
from keras_infnet.datasets.simulate import Simulation, simulate
from keras_infnet.datasets.simulation_world import SimulationSettings
from keras_infnet.datasets.split import Split, split_by_date, split_by_order

__all__ = [
    "CensusIncome",
    "CompleteJourney",
    "EBNeRD",
    "KuaiRand",
    "MovieLens",
    "QBVideo",
    "Simulation",
    "SimulationSettings",
    "Split",
    "simulate",
    "split_by_date",
    "split_by_order",
]
