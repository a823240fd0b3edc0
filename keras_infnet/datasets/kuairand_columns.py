"""Columns of KuaiRand's files, with their types (see `read_csv_table`)."""

FEEDBACKS = {
    "click": "is_click",
    "like": "is_like",
    "follow": "is_follow",
    "comment": "is_comment",
    "forward": "is_forward",
    "hate": "is_hate",
    "long_view": "long_view",
    "profile_enter": "is_profile_enter",
}
LOG_COLUMNS = {
    "user_id": "int32",
    "video_id": "int32",
    "date": "int32",
    "hourmin": "int16",
    "time_ms": "int64",
    **dict.fromkeys(FEEDBACKS.values(), "flag"),
    "play_time_ms": "int32",
    "duration_ms": "int32",
    "tab": "int8",
}
OPTIONAL_LOG_COLUMNS = {
    "profile_stay_time": "int32",
    "comment_stay_time": "int32",
    "is_rand": "int8",
}

USER_FLAGS = ("is_lowactive_period", "is_live_streamer", "is_video_author")
USER_RANGES = (
    "user_active_degree",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
)
USER_COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
USER_ONE_HOT = tuple(f"onehot_feat{i}" for i in range(18))
USER_COLUMNS = {
    "user_id": "int32",
    **dict.fromkeys(USER_RANGES, "str"),
    **dict.fromkeys(USER_FLAGS, "int16?"),
    **dict.fromkeys(USER_COUNTS, "float32"),
    **dict.fromkeys(USER_ONE_HOT, "int32?"),
}

VIDEO_COLUMNS = {
    "video_id": "int32",
    "author_id": "int32?",
    "video_type": "str",
    "upload_dt": "str",
    "upload_type": "str",
    "video_duration": "float32",
    "music_id": "int64?",
    "music_type": "int16?",
    "tag": "str",
}
OPTIONAL_VIDEO_COLUMNS = {
    "visible_status": "int16?",
    "server_width": "float32",
    "server_height": "float32",
}
_COUNTED = (
    "show play complete_play valid_play long_time_play short_time_play like cancel_like comment "
    "delete_comment comment_like follow cancel_follow share download report reduce_similar collect "
    "cancel_collect"
).split()
_UNCOUNTED = (
    "counts play_duration play_progress comment_stay_duration click_like_cnt double_click_cnt "
    "direct_comment_cnt direct_comment_user_num reply_comment_cnt reply_comment_user_num "
    "share_all_cnt share_all_user_num outsite_share_all_cnt"
).split()
STATISTICS = (*_UNCOUNTED, *(f"{what}_{by}" for what in _COUNTED for by in ("cnt", "user_num")))
STATISTICS_COLUMNS = {"video_id": "int32", **dict.fromkeys(STATISTICS, "float32")}
# `follow_user_num` is a column of users too, so the frame's names of statistics have a prefix.
STATISTICS_NAMES = {column: f"daily_{column}" for column in STATISTICS}

WARM_COLUMNS = ("user_id", "position", "video_id")
