"""Files of tensors and of plain data: safetensors, with JSON in the header.

Nothing in such a file is executed when it is read.
"""

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

# To be raised by a change after which older files cannot be read as they are.
_VERSION = 1


class ArchiveError(ValueError):
    """A file is truncated, damaged, foreign, or of a newer version."""


def write_archive(
    path: str | os.PathLike[str], kind: str, tensors: dict[str, Tensor], content: Any
) -> None:
    """Replace a file, in one move: it is never half written.

    Parameters
    ----------
    path : path-like
        In a folder that exists.
    kind : str
        What is in the file; `read_archive` refuses others.
    tensors : dict of Tensors
    content : object
        What JSON can hold.
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
    # Of a name of its own: several processes may write the same file.
    partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
    try:
        save_file(plain, partial, metadata=metadata)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_archive(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Tensor], Any]:
    """The tensors and the content of a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ArchiveError
        If it is not what `write_archive` wrote, or was written by a newer version.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if path.is_dir():
        raise ArchiveError(f"{str(path)!r} is a folder, not a {kind} of skddl.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            is_ours = metadata.get("format") == f"skddl-{kind}"
            # What is foreign is not read: it may be large.
            current = is_ours and metadata["version"] == str(_VERSION)
            # Copies: what is read must not change with the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys() if current}
        if current and metadata["digest"] == _digest(tensors, metadata["content"]):
            return tensors, json.loads(metadata["content"])
        reason = "its content is damaged" if current else "its header says so"
        newer = is_ours and not current and int(metadata["version"]) > _VERSION
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        reason, newer = str(error), False
    if newer:
        raise ArchiveError(
            f"The file {str(path)!r} is a {kind} of format {metadata['version']}, and this version "
            f"of skddl reads format {_VERSION}. Install a newer skddl."
        )
    raise ArchiveError(
        f"The file {str(path)!r} is not a {kind} of skddl, or is truncated ({reason})."
    )


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
        # Any type as bytes; a view of no dimension has none.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
