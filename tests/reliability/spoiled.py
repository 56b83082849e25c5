"""Files as `save` and checkpoints write them, with something wrong inside, and a valid digest.

What is flipped or cut is found by the digest. Whoever writes a file on purpose can compute it.
"""

import json
import os
from collections.abc import Iterator

import numpy as np
import torch
from safetensors.torch import _SIZE, save_file

from skddl.training._archive import _digest

# Text that is to stand in the JSON as it is; Python would not write it.
_RAW = {
    "raw: lists in lists": "[" * 100_000 + "]" * 100_000,
    "raw: tuples in tuples": '{"tuple": [' * 300 + "]}" * 300,
    "raw: a number of many digits": "9" * 5000,
    "raw: a number beyond floats": "1e999",
    "raw: half a character": '"\\ud800"',
}
ABSURD = [
    *_RAW,
    None,
    True,
    False,
    -1,
    0,
    1,
    3,
    10**30,
    0.5,
    -1e308,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "x",
    "auto",
    "os.system",
    "\0",
    "long " * 10_000,
    [],
    [[]],
    [1, [2.5, ["three", None]]],
    [1e308] * 3,
    list(range(1000)),
    {},
    {"x": 1},
    {"tensor": "nowhere"},
    {"tensor": 3},
    {"tensor": []},
    {"tuple": []},
    {"tuple": 7},
    {"tuple": [-1, "x"]},
    {"dict": []},
    {"dict": [[[], 1]]},
    {"dict": [["x", 1]]},
    {"dict": [["x", 1, 2]]},
    {"dict": 1.5},
    {"problem": {}},
    {"problem": {"lambda1": -1}},
    {"problem": {"lambda1": 1e400, "lambda2": 0, "positive": False}},
    {"problem": ["lambda1"]},
    {"class": "os.system", "parameters": {"command": "true"}},
    {"class": "SampleNormalizer", "parameters": {"copy": "x"}},
    {"class": "OnlineDictionaryLearning", "parameters": {}},
    {"class": ["SampleNormalizer"], "parameters": []},
    {"array": [0, 1], "dtype": "<i8"},
    {"array": ["x", 1], "dtype": "O"},
    {"array": ["a", "b"], "dtype": "U"},
    {"array": ["a", "b"], "dtype": "a5"},
    {"array": [[0], [1]], "dtype": "i4,i4"},
    {"array": [0, 1], "dtype": "(1000000000,0)i8"},
    {"array": [0, 1], "dtype": "M8[s]"},
    {"array": [0, 1], "dtype": ["x", "<i4"]},
    {"array": [0, 1], "dtype": {"names": ["x"], "formats": ["O"]}},
    {"array": [0, 1e30], "dtype": "<i4"},
    {"array": [0, 1], "dtype": None},
    {"array": 3, "dtype": "<i8"},
    {"array": [{"tensor": "nowhere"}, 1], "dtype": "|O"},
]


def write_spoiled(path, kind, tensors, content):
    """As `write_archive`, but of any content: that which Python does not write, too."""
    text = json.dumps(content)
    for name, raw in _RAW.items():
        text = text.replace(json.dumps(name), raw)
    plain = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"format": f"skddl-{kind}", "version": "1", "content": text}
    save_file(plain, path, metadata | {"digest": _digest(plain, text)})


def places(content, inside=()) -> Iterator[tuple]:
    """Keys that lead to each value in plain data."""
    yield inside
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from places(value, (*inside, key))


def with_value(content, place, value):
    """A copy, with `value` at that place."""
    if not place:
        return value
    changed = content.copy()
    changed[place[0]] = with_value(content[place[0]], place[1:], value)
    return changed


def without(content, place):
    """A copy without what is at that place."""
    *inner, last = place
    holder = content
    for key in inner:
        holder = holder[key]
    holder = holder.copy()
    del holder[last]
    return with_value(content, inner, holder)


def with_twice(content, place):
    """A copy with what is at that place once more: in a list again, in a dict under a new name."""
    *inner, last = place
    holder = content
    for key in inner:
        holder = holder[key]
    value = holder[last]
    twice = {**holder, f"{last} again": value} if isinstance(holder, dict) else [*holder, value]
    return with_value(content, inner, twice)


def spoiled_contents(content) -> list[tuple[str, object]]:
    """Descriptions, and plain data in which one value is absurd, missing or there twice."""
    spoiled = []
    for place in places(content):
        spoiled += [(f"{place} = {v!r:.60}", with_value(content, place, v)) for v in ABSURD]
        if place:
            spoiled += [(f"{place} is missing", without(content, place))]
            spoiled += [(f"{place} is there twice", with_twice(content, place))]
    return spoiled


def _variants(tensor):
    flat = tensor.reshape(-1)
    yield from (tensor.to(dtype) for dtype in (torch.bool, torch.uint8, torch.int64, torch.half))
    yield from (tensor.to(dtype) for dtype in (torch.bfloat16, torch.double, torch.float))
    if torch.complex64 in _SIZE:  # safetensors 0.7 and newer write it
        yield tensor.to(torch.complex64)
    yield from (flat.new_zeros(shape) for shape in ((), (0,), (0, 3), (1,), (2, 2, 2), (1,) * 20))
    yield from (
        flat,
        tensor[None],
        flat[:-1],
        torch.cat([flat, flat]),
        tensor.permute(tuple(range(tensor.ndim))[::-1]),
    )
    for value in (0, -1, 1e30, -1e30, torch.nan, torch.inf):
        if tensor.is_floating_point():
            yield torch.full_like(tensor, value)


def spoiled_tensors(tensors) -> list[tuple[str, dict]]:
    """Descriptions, and tensors of which one is wrong, missing or one too many."""
    spoiled = []
    for name, tensor in tensors.items():
        rest = {other: value for other, value in tensors.items() if other != name}
        spoiled.append((f"{name} is missing", rest))
        spoiled.append((f"{name} has another name", rest | {f"{name}x": tensor}))
        for new in (f"{name}.x", name.replace("0", "-1"), name.replace("0", "9"), f"x{name}"):
            spoiled.append((f"{name} is there as {new}, too", tensors | {new: tensor}))
        for variant in _variants(tensor):
            what = f"{name} has the shape {tuple(variant.shape)}, {variant.dtype}"
            spoiled.append((what, rest | {name: variant}))
    spoiled += [("there are no tensors", {})]
    spoiled += [
        (f"{name} is there, too", tensors | {name: torch.zeros(2)})
        for name in ("", "module.", "optimizer.", "optimizer.x.y", "optimizer.0", "curve.", "best.")
    ]
    return spoiled


def spoiled_files(tensors, content, n_cases=None) -> list[tuple[str, dict, object]]:
    """Descriptions, tensors and plain data of all files that are spoiled in one place, or of some.

    Half of those are spoiled in a tensor, if there is one.
    """
    contents = [(what, tensors, spoiled) for what, spoiled in spoiled_contents(content)]
    wrong = [(what, spoiled, content) for what, spoiled in spoiled_tensors(tensors)]
    if n_cases is None:
        return contents + wrong
    rng = np.random.default_rng(0)
    return [
        cases[i]
        for cases in (contents, wrong)
        for i in rng.choice(len(cases), min(len(cases), n_cases // 2), replace=False)
    ]


def cut(path) -> Iterator[int]:
    """Leave ever less of a file; yields how much of it there is."""
    for size in reversed(range(path.stat().st_size)):
        os.truncate(path, size)
        yield size


def flip(path, n_bits=None) -> Iterator[int]:
    """Flip all bits of a file, or so many, one at a time; yields which it is."""
    bits = np.arange(8 * path.stat().st_size)
    if n_bits is not None:
        bits = np.random.default_rng(0).choice(bits, n_bits, replace=False)
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            byte = os.pread(file.fileno(), 1, bit // 8)[0]
            os.pwrite(file.fileno(), bytes([byte ^ 1 << bit % 8]), bit // 8)
            yield bit
            os.pwrite(file.fileno(), bytes([byte]), bit // 8)
