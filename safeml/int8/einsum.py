"""The equation of an EinsumDense as one matrix product, which is what INT8 kernels compute."""

from __future__ import annotations

from typing import NamedTuple


class Product(NamedTuple):
    """free: axes of the input that stay. contracted: axes of input and kernel that are summed. outputs: axes that are new."""

    free: int
    contracted: int
    outputs: int


def as_product(equation: str, rank: int) -> Product | None:
    """Return the equation as a product of an input of `rank` axes; None where it needs a transposition first.

    The input is free axes then contracted ones, the kernel contracted axes then new ones, the output free then new ones.

    >>> as_product("abc,cde->abde", 3)
    Product(free=2, contracted=1, outputs=2)
    >>> as_product("...x,xy->...y", 4)
    Product(free=3, contracted=1, outputs=1)
    >>> as_product("abc,dc->abd", 3) is None
    True
    """
    before, _, output = equation.replace(" ", "").partition("->")
    image, _, kernel = before.partition(",")
    contracted = sum(letter in image for letter in kernel)
    outputs = len(kernel) - contracted
    free = image[: len(image) - contracted]
    if (
        not contracted
        or not outputs
        or kernel[:contracted] != image[len(free) :]
        or output != free + kernel[contracted:]
    ):
        return None
    return Product(rank - contracted, contracted, outputs)
