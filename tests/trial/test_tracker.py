from __future__ import annotations

import torch

from fmkit.trial.tracker import LiveStorages, storage_bytes, tensors_in


def test_counts_while_alive_and_keeps_the_peak() -> None:
    weight = torch.ones(100)
    with LiveStorages([weight]) as live:
        assert live.peak_bytes == 400
        product = weight * 2
        total = product + 1
        assert live.peak_bytes == 1200
        del product, total
        assert live.now_bytes == 400
        live.reset_peak()
        assert live.peak_bytes == 400


def test_views_and_in_place_results_cost_nothing() -> None:
    weight = torch.ones(10, 10)
    with LiveStorages([weight]) as live:
        view = weight.t()[2:]
        view.add_(1)
        assert live.peak_bytes == 400


def test_what_a_composite_operation_holds_inside_is_seen() -> None:
    """Attention without a fused kernel (keys wider than values) holds its score matrix: 4 heads x 64 x 64 float32."""
    query, value = torch.ones(1, 4, 64, 24), torch.ones(1, 4, 64, 16)
    with torch.no_grad(), LiveStorages([], ignored=[query, value]) as live:
        torch.nn.functional.scaled_dot_product_attention(query, query, value)
        assert live.peak_bytes > 4 * 64 * 64 * 4


def test_inputs_are_left_out() -> None:
    given = torch.ones(50)
    with LiveStorages([], ignored=[given]) as live:
        reshaped = given.view(5, 10)
        assert live.peak_bytes == 0
        del reshaped


def test_storage_bytes_counts_shared_memory_once() -> None:
    base = torch.zeros(16)
    assert storage_bytes([base, base[:4], base.view(4, 4)]) == 64


def test_tensors_are_found_in_any_object() -> None:
    class Layer:
        def __init__(self) -> None:
            self.keys = torch.zeros(2)
            self.more = {"values": [torch.zeros(3)], "name": "x"}

    class Cache:
        def __init__(self) -> None:
            self.layers = [Layer(), Layer()]
            self.itself = self

    assert sorted(len(tensor) for tensor in tensors_in(Cache())) == [2, 2, 3, 3]
