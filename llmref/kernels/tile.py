"""What the kernels share: how a tile is read, scored and masked.

The letters are those of the page about FlashAttention: Q, K, V and O are tiles of queries, keys, values and
outputs, S is a tile of scores. Names in capitals beside them are known when a kernel is compiled.
"""

import os
from typing import no_type_check

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
LOWEST = tl.constexpr(-3.0e38)  # below every score; not -inf, because -inf - -inf is no number


@triton.jit
@no_type_check
def read(starts, are_there, DIM: tl.constexpr, BLOCK: tl.constexpr):
    """The vectors that start at these places, (vectors, BLOCK): 0 where there is none, and past its end."""
    dims = tl.arange(0, BLOCK)[None, :]
    return tl.load(starts[:, None] + dims, mask=are_there[:, None] & (dims < DIM), other=0.0)


@triton.jit
@no_type_check
def write(starts, are_there, X, DIM: tl.constexpr, BLOCK: tl.constexpr):
    """Store the vectors X from these places on, rounded to what is stored there."""
    dims = tl.arange(0, BLOCK)[None, :]
    X = X.to(starts.dtype.element_ty)
    tl.store(starts[:, None] + dims, X, mask=are_there[:, None] & (dims < DIM))


@triton.jit
@no_type_check
def row_starts(matrix, offset, rows, stride):
    """Where rows of a matrix begin; `None` where there is no matrix."""
    return None if matrix is None else matrix + offset + rows.to(tl.int64) * stride


@triton.jit
@no_type_check
def product(A, B):
    """A B, the factors in the dtype of B, summed in float32."""
    if INTERPRETED:  # it cuts digits off where it makes a bfloat16, and cannot multiply them
        A = A.to(tl.float32)
        B = B.to(tl.float32)
    else:
        A = A.to(B.dtype)
    return tl.dot(A, B, input_precision="ieee")


@triton.jit
@no_type_check
def tanh(x):
    """Triton's core has none. Near 0, where the quotient loses digits, the first terms of the series."""
    e = tl.exp(-2.0 * tl.abs(x))
    quotient = (1.0 - e) / (1.0 + e)
    y = x * x
    series = 1.0 + y * (-1.0 / 3.0 + y * (2.0 / 15.0 + y * (-17.0 / 315.0 + y * (62.0 / 2835.0))))
    return tl.where(y < 0.0625, x * series, tl.where(x < 0, -quotient, quotient))


@triton.jit
@no_type_check
def scores(Q, K, scale, SOFT_CAP: tl.constexpr):
    """S = scale Q Kᵀ, bent by the soft cap."""
    S = product(Q, tl.trans(K)) * scale
    if SOFT_CAP is not None:
        S = SOFT_CAP * tanh(S / SOFT_CAP)
    return S


@triton.jit
@no_type_check
def masked(
    S,
    query_position,  # of each row of S
    key_position,  # of each column
    allowed_row,  # where each row of the matrix of allowed pairs begins, or None
    bias_row,  # where each row of the bias begins, or None
    is_query,  # the rows that are queries, and not there to fill the tile
    is_key,
    columns,  # the number of each column's key
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
):
    """S with its bias, and -inf where the query may not look at the key."""
    is_pair = is_query[:, None] & is_key[None, :]
    if bias_row is not None:
        S += tl.load(bias_row[:, None] + columns[None, :], mask=is_pair, other=0.0).to(tl.float32)
    seen = is_pair & (key_position >= 0)[None, :]
    distance = query_position[:, None] - key_position[None, :]
    if CAUSAL or WINDOW is not None:
        seen = seen & (distance >= 0)
    if WINDOW is not None:
        seen = seen & (distance < WINDOW)
    if allowed_row is not None:
        seen = seen & (tl.load(allowed_row[:, None] + columns[None, :], mask=is_pair, other=0) != 0)
    return tl.where(seen, S, float("-inf"))
