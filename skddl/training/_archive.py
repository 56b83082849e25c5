"""Files of tensors and of plain data: safetensors, with JSON in the header.

Nothing in such a file is executed when it is read.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

# To be raised by a change after which older files cannot be read as they are.
_VERSION = 1
# What values that are not as they should be may lead to.
_WRONG_VALUES = ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError


class ArchiveError(ValueError):
    """A file is truncated, damaged, foreign, or of a newer version."""


def write_archive(
    path: str | os.PathLike[str], kind: str, tensors: dict[str, Tensor], content: Any
) -> None:
    """Replace a file, in one move: it is never half written.

    Its bytes are in memory meanwhile, beside the tensors.

    Parameters
    ----------
    path : path-like
        In a folder that exists.
    kind : str
        What is in the file; `read_archive` refuses others.
    tensors : dict of Tensors
    content : object
        What JSON can hold.

    Raises
    ------
    OSError
        If it cannot be written: a file that was there is as it was.
    """
    path = Path(path)
    plain = _apart(tensors)
    text = json.dumps(content)
    metadata = {
        "format": f"skddl-{kind}",
        "version": str(_VERSION),
        "content": text,
        "digest": _digest(plain, text),
    }
    partial = partial_path(path)
    try:
        with open(partial, "wb") as file:
            # Not `save_file`, which has a file of its own meanwhile, and hides it from others.
            file.write(save(plain, metadata=metadata))
            file.flush()
            os.fsync(file.fileno())  # else a power failure might leave an empty file in its place
        os.replace(partial, path)
    except OSError as error:
        # By its own name, not that of the partial file.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):  # which would hide the one that is why it cannot be written
            partial.unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """Where to write what is to replace a file: each time another, as several may write it."""
    return path.with_name(f"{path.name}.{uuid4().hex}.partial")


def read_archive(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Tensor], Any]:
    """The tensors and the content of a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PermissionError
        If it may not be read.
    ArchiveError
        If it is not what `write_archive` wrote, or was written by a newer version.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if path.is_dir():
        raise ArchiveError(f"{str(path)!r} is a folder, not a {kind} of skddl.")
    if not path.is_file():  # a pipe would wait for somebody to write, a device may never end
        raise ArchiveError(f"{str(path)!r} is no regular file, such as a {kind} of skddl is.")
    path.open("rb").close()  # safetensors says of what may not be read that it does not exist
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            is_ours = metadata.get("format") == f"skddl-{kind}"
            # What is foreign is not read: it may be large.
            current = is_ours and metadata["version"] == str(_VERSION)
            tensors = {name: file.get_tensor(name) for name in file.keys() if current}
            # So far they are views of the file: what is damaged takes no memory, however large.
            if current and metadata["digest"] == _digest(tensors, metadata["content"]):
                # Copies: what is read must not change with the file.
                copies = {name: tensor.clone() for name, tensor in tensors.items()}
                return copies, json.loads(metadata["content"])
        reason = "its content is damaged" if current else "its header says so"
        newer = is_ours and not current and int(metadata["version"]) > _VERSION
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        reason, newer = str(error), False
    if newer:
        raise ArchiveError(
            f"The file {str(path)!r} is a {kind} of format {metadata['version']}, and this version "
            f"of skddl reads format {_VERSION}. Install a newer skddl."
        )
    raise ArchiveError(
        f"The file {str(path)!r} is not a {kind} of skddl, or is truncated ({reason})."
    )


@contextmanager
def damaged(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Say, where what was read leads to an error, that it is the file that is damaged."""
    try:
        yield
    except _WRONG_VALUES as error:
        # It may show all of a value that is as long as the file.
        shown = str(error)[:1000].rstrip(".")
        raise ArchiveError(f"The {kind} {str(path)!r} is damaged: {shown}.") from error


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, none in the memory of another: safetensors wants that.

    Copied only where it must be: the curves of a long training are megabytes.
    """
    apart: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage()
        if memory.data_ptr() in taken or memory.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        taken.add(memory.data_ptr())
        apart[name] = tensor
    return apart


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """Of all that is in a file: a bit that has changed is found."""
    digest = blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        if tensor.numel():  # else it may have strides that allow no view
            # Any type as bytes; a view of no dimension has none.
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
