"""WuKong layer: a factorization machine and a linear part on tokens."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_infnet._backend.random_dropout import CheapDropout
from keras_infnet.layers.configured_layer import ConfiguredLayer


@keras.saving.register_keras_serializable(package="keras_infnet")
class WuKongLayer(ConfiguredLayer):
    """`X_{l+1} = LN([FMB(X_l); LCB(X_l)] + R X_l)`: interactions of tokens beside the tokens.

    - factorization machine block: `FMB(X) = reshape(MLP(LN(flatten(X X^T Y))))`, to
      `num_fmb_tokens`; the learned `Y` `(tokens, projection_dim)` compresses the matrix of all
      pairs, and `X (X^T Y)` never writes it;
    - linear compression block: `LCB(X) = W_L X`, to `num_lcb_tokens`;
    - `R` is the identity, or a matrix of its own where the number of tokens changes.

    MLP is `Dense(relu)` and dropout for each hidden width, and a Dense. `LN` goes over a token's
    elements, in the FMB over the flattened matrix. All tokens are valid: there is no mask.

    Args:
        num_fmb_tokens: Number of tokens made of interactions, the paper's `n_F`.
        num_lcb_tokens: Number of compressed tokens, the paper's `n_L`.
        projection_dim: Columns of `Y`, the paper's `k`. Defaults to `8`.
        hidden_dims: Hidden widths of the MLP. Defaults to `(128,)`.
        dropout: Rate after each hidden layer. Defaults to `0.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        tokens: Float tensor `(batch, tokens, dim)`.

    Returns:
        Float tensor `(batch, num_fmb_tokens + num_lcb_tokens, dim)`.

    Raises:
        ValueError: A size is below 1.

    Example:
        >>> layer = keras_infnet.layers.WuKongLayer(num_fmb_tokens=3, num_lcb_tokens=2)
        >>> tuple(layer(keras.ops.ones((2, 7, 8))).shape)
        (2, 5, 8)

    Reference:
        Zhang et al., Wukong: Towards a Scaling Law for Large-Scale Recommendation, ICML 2024,
        arXiv:2403.02545, sections 3.3 to 3.6. The paper's `Y` may also be made from the input; here
        it is a weight. Sizes are our choice.
    """

    def __init__(
        self,
        num_fmb_tokens: int,
        num_lcb_tokens: int,
        projection_dim: int = 8,
        hidden_dims: Sequence[int] = (128,),
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(num_fmb_tokens, num_lcb_tokens, projection_dim, *hidden_dims) < 1:
            raise ValueError(
                "Numbers of tokens and widths must be 1 or more. Received: "
                f"{num_fmb_tokens=}, {num_lcb_tokens=}, {projection_dim=}, {hidden_dims=}"
            )
        self.num_fmb_tokens = num_fmb_tokens
        self.num_lcb_tokens = num_lcb_tokens
        self.projection_dim = projection_dim
        self.hidden_dims = hidden_dims
        self.dropout = dropout
        self.dropout_layer = CheapDropout(dropout, dtype=self.dtype_policy)

    def build(self, tokens_shape: tuple) -> None:
        num_tokens, dim = tokens_shape[1:]
        self.pair_projection = self._token_weight(
            "pair_projection", num_tokens, self.projection_dim
        )
        self.compression = self._token_weight("compression", num_tokens, self.num_lcb_tokens)
        num_outputs = self.num_fmb_tokens + self.num_lcb_tokens
        self.residual = None
        if num_outputs != num_tokens:
            self.residual = self._token_weight("residual", num_tokens, num_outputs)
        width = num_tokens * self.projection_dim
        self.pair_norm = self._norm("pair_norm", width)
        self.mlp = []
        for i, hidden_dim in enumerate(self.hidden_dims):
            self.mlp.append(self._dense(f"hidden_{i}", width, hidden_dim, activation="relu"))
            width = hidden_dim
        self.output_layer = self._dense("output", width, self.num_fmb_tokens * dim)
        self.norm = self._norm("norm", dim)

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        transposed = ops.swapaxes(tokens, 1, 2)
        compressed = _recombined(transposed, self.compression)
        interactions = self._interactions(tokens, transposed, training)
        outputs = ops.concatenate([interactions, compressed], axis=1)
        kept = tokens if self.residual is None else _recombined(transposed, self.residual)
        return self.norm(outputs + kept)

    def compute_output_shape(self, tokens_shape: tuple) -> tuple:
        return (tokens_shape[0], self.num_fmb_tokens + self.num_lcb_tokens, tokens_shape[2])

    def _interactions(self, tokens: Any, transposed: Any, training: bool | None) -> Any:
        """The factorization machine block: tokens `(batch, num_fmb_tokens, dim)`."""
        pairs = ops.matmul(tokens, ops.matmul(transposed, self.pair_projection))
        hidden = self.pair_norm(ops.reshape(pairs, (-1, tokens.shape[1] * self.projection_dim)))
        for dense in self.mlp:
            hidden = self.dropout_layer(dense(hidden), training=training)
        return ops.reshape(self.output_layer(hidden), (-1, self.num_fmb_tokens, tokens.shape[2]))

    def _token_weight(self, name: str, num_tokens: int, num_outputs: int) -> Any:
        return self.add_weight((num_tokens, num_outputs), "glorot_uniform", name=name)


def _recombined(transposed: Any, weight: Any) -> Any:
    """Sums of tokens: `(batch, dim, tokens)` times `(tokens, outputs)`, tokens first again."""
    return ops.swapaxes(ops.matmul(transposed, weight), 1, 2)
