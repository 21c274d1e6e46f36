"""Algebra of symmetric matrices of two to four rows, as tuples: the program starts without numpy."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add, mul, sub

Vector = tuple[float, ...]
Matrix = tuple[Vector, ...]


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    """The scalar product.

    >>> dot((1.0, 2.0), (3.0, 4.0))
    11.0
    """
    return sum(map(mul, one, other), 0.0)


def applied(matrix: Matrix, vector: Sequence[float]) -> Vector:
    """The matrix times a vector.

    >>> applied(((1.0, 2.0), (0.0, 1.0)), (3.0, 4.0))
    (11.0, 4.0)
    """
    return tuple(dot(row, vector) for row in matrix)


def product(one: Matrix, other: Matrix) -> Matrix:
    """The product of two matrices.

    >>> product(((1.0, 2.0), (0.0, 1.0)), ((1.0, 0.0), (3.0, 1.0)))
    ((7.0, 2.0), (3.0, 1.0))
    """
    columns = tuple(zip(*other, strict=True))
    return tuple(tuple(dot(row, column) for column in columns) for row in one)


def total(one: Matrix, other: Matrix) -> Matrix:
    """The sum of two matrices.

    >>> total(((1.0,),), ((2.0,),))
    ((3.0,),)
    """
    return tuple(sum_of_vectors(a, b) for a, b in zip(one, other, strict=True))


def difference(one: Matrix, other: Matrix) -> Matrix:
    """The difference of two matrices.

    >>> difference(((1.0,),), ((3.0,),))
    ((-2.0,),)
    """
    return tuple(difference_of_vectors(a, b) for a, b in zip(one, other, strict=True))


def sum_of_vectors(one: Sequence[float], other: Sequence[float]) -> Vector:
    """The sum of two vectors.

    >>> sum_of_vectors((1.0, 2.0), (3.0, 4.0))
    (4.0, 6.0)
    """
    return tuple(map(add, one, other))


def difference_of_vectors(one: Sequence[float], other: Sequence[float]) -> Vector:
    """The difference of two vectors.

    >>> difference_of_vectors((1.0, 2.0), (3.0, 5.0))
    (-2.0, -3.0)
    """
    return tuple(map(sub, one, other))


def inverse(matrix: Sequence[Sequence[float]]) -> Matrix:
    """The inverse of a positive definite matrix, by Gauss-Jordan; no pivot is needed there.

    >>> inverse(((2.0, 0.0), (0.0, 4.0)))
    ((0.5, 0.0), (0.0, 0.25))
    """
    size = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = rows[column][column]
        rows[column] = [value / pivot for value in rows[column]]
        for other in range(size):
            factor = rows[other][column]
            if other != column and factor:
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[column], strict=True)]
    return tuple(tuple(row[size:]) for row in rows)
