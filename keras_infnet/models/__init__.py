"""Ranking models, one page each, built from a schema."""

from keras_infnet.models.dcnv2 import GDCN, DCNv2
from keras_infnet.models.dien import DIEN
from keras_infnet.models.din import DIN
from keras_infnet.models.fm import FM
from keras_infnet.models.hstu import HSTU
from keras_infnet.models.hyformer import HyFormer
from keras_infnet.models.infnet import Form, INFNet
from keras_infnet.models.longer import LONGER
from keras_infnet.models.mmoe import MMoE, OMoE
from keras_infnet.models.onetrans import OneTrans
from keras_infnet.models.ple import PLE
from keras_infnet.models.ranking_model import RankingModel
from keras_infnet.models.rankmixer import RankMixer
from keras_infnet.models.shared_bottom import SharedBottom
from keras_infnet.models.stem import STEM
from keras_infnet.models.tokenformer import TokenFormer
from keras_infnet.models.unimixer import UniMixer
from keras_infnet.models.wukong import WuKong

# By name, in the order of tables and figures.
MODELS: dict[str, type[RankingModel]] = {
    model.__name__: model
    for model in (
        INFNet,
        FM,
        DIN,
        DIEN,
        DCNv2,
        GDCN,
        WuKong,
        HSTU,
        OneTrans,
        RankMixer,
        LONGER,
        HyFormer,
        TokenFormer,
        UniMixer,
        SharedBottom,
        MMoE,
        OMoE,
        PLE,
        STEM,
    )
}

__all__ = [
    "DCNv2",
    "DIEN",
    "DIN",
    "FM",
    "Form",
    "GDCN",
    "HSTU",
    "HyFormer",
    "INFNet",
    "LONGER",
    "MMoE",
    "MODELS",
    "OMoE",
    "OneTrans",
    "PLE",
    "RankMixer",
    "RankingModel",
    "STEM",
    "SharedBottom",
    "TokenFormer",
    "UniMixer",
    "WuKong",
]
