"""All models by name."""

from keras_infnet.models.dcnv2 import GDCN, DCNv2
from keras_infnet.models.dien import DIEN
from keras_infnet.models.din import DIN
from keras_infnet.models.fm import FM
from keras_infnet.models.hstu import HSTU
from keras_infnet.models.infnet import INFNet
from keras_infnet.models.mmoe import MMoE, OMoE
from keras_infnet.models.ple import PLE
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.shared_bottom import SharedBottom
from keras_infnet.models.stem import STEM
from keras_infnet.models.wukong import WuKong

MODELS: dict[str, type[RankingModel]] = {
    "INFNet": INFNet,
    "FM": FM,
    "DIN": DIN,
    "DIEN": DIEN,
    "DCNv2": DCNv2,
    "GDCN": GDCN,
    "WuKong": WuKong,
    "HSTU": HSTU,
    "SharedBottom": SharedBottom,
    "MMoE": MMoE,
    "OMoE": OMoE,
    "PLE": PLE,
    "STEM": STEM,
}
