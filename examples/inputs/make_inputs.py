"""Makes the inputs that `fmkit try` uses when none is given: texts, a drawn picture and a spoken sentence.

    python examples/inputs/make_inputs.py [FOLDER]

They lie in fmkit/trial/inputs/, so that an installed fmkit has them; this script is their only source. The picture needs
Pillow. The sentence is spoken by espeak-ng where that is installed, and left as it is elsewhere.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import wave
from array import array
from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).resolve().parents[2] / "fmkit" / "trial" / "inputs"
RATE_HZ = 16_000

TEXTS = {
    "text.txt": "Explain in two sentences why a longer prompt needs more memory while a language model runs.",
    "article.txt": (
        "summarize: The workshop by the river repairs bicycles, and since spring it also lends them. Anybody in the town may take "
        "one for a day and pays what seems fair. In the first three months the bicycles were lent 412 times, and four did not "
        "come back. The owner says that she earns less than from repairs alone, but that on Saturdays the yard is full of people "
        "who never came before."
    ),
    "gap.txt": "The capital of France is ___.",
    "sentences.txt": (
        "The train to the coast leaves at half past seven in the morning.\n"
        "At 7:30 a.m. there is a train that goes to the seaside.\n"
        "Stir the flour into the melted butter until no lumps are left."
    ),
    "captions.txt": (
        "a red circle next to a blue square\na green triangle on a hill\na page of printed text\na photo of a sleeping dog"
    ),
    "question.txt": "Which shapes and colours are in this picture?",
    "speech.txt": "The quick train stops at seven small stations.",
}


def make_texts(folder: Path) -> None:
    """One file per text, with a newline at its end."""
    for name, text in TEXTS.items():
        (folder / name).write_text(text + "\n", encoding="utf-8")


def make_picture(path: Path) -> None:
    """A red circle and a blue square on white, 336 pixels wide."""
    image = Image.new("RGB", (336, 336), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((30, 100, 160, 230), fill=(208, 32, 32))
    draw.rectangle((190, 105, 305, 220), fill=(32, 64, 200))
    image.save(path, optimize=True)


def make_speech(path: Path, text: str) -> bool:
    """The text spoken, as 16-bit mono at 16 kHz; False where there is no espeak-ng."""
    program = shutil.which("espeak-ng")
    if program is None:
        return False
    spoken = path.with_suffix(".espeak.wav")
    subprocess.run([program, "-v", "en", "-s", "150", "-w", str(spoken), text], check=True)  # noqa: S603
    with wave.open(str(spoken), "rb") as sound:
        rate_hz = sound.getframerate()
        samples = array("h", sound.readframes(sound.getnframes()))
    spoken.unlink()
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(resampled(samples, rate_hz).tobytes())
    return True


def resampled(samples: array[int], rate_hz: int) -> array[int]:
    """The samples at 16 kHz, each interpolated between its two neighbours."""
    count = len(samples) * RATE_HZ // rate_hz
    made = array("h")
    for index in range(count):
        position = index * rate_hz / RATE_HZ
        left = int(position)
        right = min(left + 1, len(samples) - 1)
        made.append(round(samples[left] + (samples[right] - samples[left]) * (position - left)))
    return made


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    make_texts(folder)
    make_picture(folder / "picture.png")
    if not make_speech(folder / "speech.wav", TEXTS["speech.txt"]):
        print("espeak-ng is not installed: speech.wav is left as it is", file=sys.stderr)
    for path in sorted(folder.iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} B")


if __name__ == "__main__":
    main()
