"""All models by name."""

from keras_infnet.models.infnet import INFNet
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.shared_bottom import SharedBottom

MODELS: dict[str, type[RankingModel]] = {"INFNet": INFNet, "SharedBottom": SharedBottom}
