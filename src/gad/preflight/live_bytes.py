"""Counts the bytes that live at once while something is computed, on tensors with or without memory."""

import weakref
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _storages(values: object) -> Iterator[torch.UntypedStorage]:
    return (value.untyped_storage() for value in tree_leaves(values) if isinstance(value, Tensor))


class LiveBytes(TorchDispatchMode):
    """Bytes of the storages that operators have made inside this context and that something still holds.

    ``peak`` is the most at once, ``now`` what is left. What autograd saves and what the backward pass makes is in it;
    what was there before is not, nor is what an operator takes for itself while it runs (a workspace of cuDNN).
    """

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._held: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        new = [storage for storage in _storages(result) if storage._cdata not in self._held]
        if new:
            given = {storage._cdata for storage in _storages((args, kwargs))}
            for storage in new:
                if storage._cdata not in given:  # else a view of what was there before
                    self._hold(storage)
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()

        def let_go(_: object) -> None:
            del self._held[key]
            self.now -= size

        if key not in self._held:  # two results may share a storage
            self._held[key] = weakref.ref(storage, let_go)
            self.now += size
            self.peak = max(self.peak, self.now)
