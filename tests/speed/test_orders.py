"""What must be faster than what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from fmkit.model.spec import ModelSpec
from fmkit.speed.estimate import Range, SpeedEstimate

SpeedOf = Callable[..., SpeedEstimate]
WHISPERS = ("whisper-tiny", "whisper-base", "whisper-small", "whisper-medium", "whisper-large-v3")
CLIPS = ("clip-vit-base-patch32", "clip-vit-base-patch16", "clip-vit-large-patch14", "clip-vit-large-patch14-336")
DEVICES = ("a100-sxm4-80gb", "rtx-4090", "two-cores")


def median(found: Range | None) -> float:
    assert found is not None
    return found.median


def falls(figures: Sequence[float]) -> bool:
    return all(before > after for before, after in pairwise(figures))


@pytest.mark.parametrize("device", DEVICES)
def test_a_smaller_whisper_is_faster(device: str, speed_of: SpeedOf) -> None:
    found = [speed_of(name, device) for name in WHISPERS]
    assert falls([median(speed.decode_tokens_per_s) for speed in found])
    assert falls([-median(speed.ttft_s) for speed in found])


@pytest.mark.parametrize("device", DEVICES)
def test_four_decoder_layers_write_faster_than_thirty_two(device: str, speed_of: SpeedOf) -> None:
    turbo, large = speed_of("whisper-large-v3-turbo", device), speed_of("whisper-large-v3", device)
    assert median(turbo.decode_tokens_per_s) > 4 * median(large.decode_tokens_per_s)
    assert median(large.ttft_s) / 3 < median(turbo.ttft_s) < median(large.ttft_s)  # they share the encoder


def test_launching_is_in_proportion_to_layers(speed_of: SpeedOf) -> None:
    turbo, large = speed_of("whisper-large-v3-turbo"), speed_of("whisper-large-v3")
    assert (turbo.bound, large.bound) == ("overhead", "overhead")
    assert median(turbo.decode_tokens_per_s) == pytest.approx(8 * median(large.decode_tokens_per_s), rel=0.01)


def test_the_first_token_waits_for_the_audio_encoder(speed_of: SpeedOf, spec_of: Callable[[str], ModelSpec]) -> None:
    """Encoder of whisper-large-v3: 637M weights, 1500 frames, 1.9 TFLOP, attention 0.4, at 0.18 TFLOP/s * 0.85: 15 s; decoder 2 s."""
    audio = spec_of("whisper-large-v3").stack("audio")
    assert audio is not None
    assert audio.fixed_tokens == 1500
    assert 15 < median(speed_of("whisper-large-v3", "two-cores").ttft_s) < 22


@pytest.mark.parametrize("device", DEVICES)
def test_a_larger_image_tower_takes_in_fewer_images(device: str, speed_of: SpeedOf) -> None:
    found = [speed_of(name, device, context=77) for name in CLIPS]
    rates = [median(speed.images_per_s) for speed in found]
    assert rates[0] > 0.95 * rates[1]  # 50 and 197 tokens of one size of tower: launching and weights take most of both
    assert falls(rates[1:])
    assert falls([-median(speed.ttft_s) for speed in found[1:]])
    assert [speed.decode_tokens_per_s for speed in found] == [None] * 4


def test_a_pass_of_clip_is_both_towers(speed_of: SpeedOf) -> None:
    both, text = speed_of(CLIPS[2], "two-cores", context=77), speed_of(CLIPS[2], "two-cores", context=77, images=0)
    assert text.images_per_s is None
    assert median(both.ttft_s) == pytest.approx(median(text.ttft_s) + 1 / median(both.images_per_s))


@pytest.mark.parametrize(
    "model", ["gemma-3-4b-it", "llava-1.5-7b-hf", "blip2-opt-2.7b", "llama-3.2-11b-vision-instruct"]
)
def test_an_image_delays_the_first_token_by_its_tower(model: str, speed_of: SpeedOf) -> None:
    one, none, two = (speed_of(model, images=images) for images in (None, 0, 2))
    assert median(one.ttft_s) > median(none.ttft_s) * 1.03
    assert median(two.ttft_s) > median(one.ttft_s)
    assert median(one.decode_tokens_per_s) == median(none.decode_tokens_per_s)


@pytest.mark.parametrize(
    "names",
    [("bge-small-en-v1.5", "bge-base-en-v1.5", "bge-large-en-v1.5"), ("flan-t5-base", "flan-t5-large", "flan-t5-xl")],
)
def test_a_larger_encoder_reads_slower(names: tuple[str, ...], speed_of: SpeedOf) -> None:
    for device in DEVICES:
        assert falls([median(speed_of(name, device).prefill_tokens_per_s) for name in names])


@pytest.mark.parametrize(
    ("model", "device"),
    [("qwen2.5-0.5b", "two-cores"), ("bge-base-en-v1.5", "two-cores"), ("flan-t5-base", "two-cores"), ("mamba-130m-hf", "rtx-4090")],
)  # fmt: skip
def test_a_longer_text_takes_longer_and_a_batch_reads_more(model: str, device: str, speed_of: SpeedOf) -> None:
    short, long = (speed_of(model, device, prompt=prompt) for prompt in (64, 512))
    assert median(long.ttft_s) > median(short.ttft_s)
    batch = speed_of(model, "a100-sxm4-80gb", sequences=8)
    assert median(batch.prefill_tokens_per_s) > median(speed_of(model).prefill_tokens_per_s)


def test_bandwidth_orders_devices_where_it_binds(speed_of: SpeedOf) -> None:
    found = [
        speed_of("qwen2.5-7b", device, engine="vllm") for device in ("h100-sxm5-80gb", "a100-sxm4-80gb", "rtx-4090")
    ]
    assert falls([median(speed.decode_tokens_per_s) for speed in found])
