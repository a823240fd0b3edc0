#!/usr/bin/env bash
# Serves the versions in a folder, such as models/ranker/1, with TensorFlow Serving in Docker:
#
#     examples/serving/serve.sh models/ranker
#     examples/serving/serve.sh models/ranker --batching    # for serving_default alone
#     examples/serving/serve.sh models/ranker --bounded     # for rank and score under load
#
# The model's name is the folder's. REST listens on port 8501 and gRPC on 8500; REST_PORT and
# GRPC_PORT change them on the host. IMAGE names another image.
set -euo pipefail

if [[ $# -lt 1 || ! -d $1 ]]; then
    echo "usage: $0 FOLDER_OF_VERSIONS [--batching | --bounded]" >&2
    exit 2
fi
models=$(cd "$1" && pwd)
name=$(basename "$models")
if ! compgen -G "$models/[0-9]*/saved_model.pb" >/dev/null; then
    echo "$models holds no version; expected a SavedModel such as $models/1" >&2
    exit 2
fi

config=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
flags=(--monitoring_config_file=/config/monitoring.config)
case ${2:-} in
"") ;;
--batching) flags+=(--enable_batching --batching_parameters_file=/config/batching.config) ;;
--bounded)
    # Threads of one request don't wait for each other; of a client's requests 16 are at the server.
    flags+=(--tensorflow_intra_op_parallelism=1 --tensorflow_inter_op_parallelism=1)
    flags+=(--grpc_channel_arguments=grpc.max_concurrent_streams=16)
    ;;
*)
    echo "unknown option $2" >&2
    exit 2
    ;;
esac

exec docker run --rm \
    --publish "${GRPC_PORT:-8500}:8500" --publish "${REST_PORT:-8501}:8501" \
    --mount "type=bind,source=$models,target=/models/$name,readonly" \
    --mount "type=bind,source=$config,target=/config,readonly" \
    --env "MODEL_NAME=$name" \
    "${IMAGE:-tensorflow/serving}" "${flags[@]}"
