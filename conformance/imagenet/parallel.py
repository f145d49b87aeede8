"""One function over many items: in order, over processes, with progress and nothing lost."""

from __future__ import annotations

import collections
import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from conformance.errors import ConformanceError
from conformance.progress import Bars, step

Item = TypeVar("Item")
Result = TypeVar("Result")

# Large enough to hide the cost of crossing a process border, small enough to stop soon.
CHUNK = 16
# Chunks in work or waiting for the consumer, per process: what bounds the memory.
_AHEAD = 2


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def each_in_order(
    work: Callable[[Sequence[Item]], Result],
    items: Sequence[Item],
    *,
    workers: int,
    title: str = "",
    chunk: int = CHUNK,
) -> Generator[Result, None, None]:
    """Yield the result of ``work`` for each run of ``chunk`` items, in order.

    The first exception of a chunk is raised here and ends the work. Work that is too small for
    several processes is done in this one. When the iterator is closed, or Ctrl-C arrives, no
    process is left behind; nor is one if this process is killed.

    Args:
        work: A function that can be pickled, as its items and results must be.
        items: What to work on.
        workers: Processes to use.
        title: Shows progress under that title, on stderr where nothing else is agreed; empty
            shows none.
        chunk: Items that cross a process border together.

    Raises:
        ConformanceError: A process died, as one does when the memory runs out.
    """
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    workers = min(workers, len(chunks))
    results = map(work, chunks) if workers <= 1 else _pooled(work, chunks, workers)
    yield from _shown(results, chunks, title) if title else results


def _shown(
    results: Iterator[Result], chunks: Sequence[Sequence[Item]], title: str
) -> Generator[Result, None, None]:
    total = sum(map(len, chunks))
    with step(title, total=total, otherwise=Bars(sys.stderr)) as advance:
        for chunk, result in zip(chunks, results, strict=True):
            advance(len(chunk))
            yield result


def _pooled(
    work: Callable[[Sequence[Item]], Result], chunks: Sequence[Sequence[Item]], workers: int
) -> Iterator[Result]:
    # A fork would copy the threads' locks of torch and onnxruntime in whatever state they are.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_obey_parent)
    waiting = iter(chunks)
    ahead: collections.deque[Future[Result]] = collections.deque()

    def submit(count: int) -> None:
        with _interrupts_held():
            ahead.extend(pool.submit(work, chunk) for chunk in itertools.islice(waiting, count))

    try:
        submit(workers * _AHEAD)
        while ahead:
            yield ahead.popleft().result()
            submit(1)
    except BrokenProcessPool:
        raise ConformanceError(
            "a worker process died",
            got="no result and no error from it",
            expected="a result for each image",
            next_step="look for the kernel's out-of-memory killer in dmesg; use fewer processes",
        ) from None
    finally:
        # A second Ctrl-C in here would leave the pool's own thread waiting for a lock for ever.
        with _interrupts_held():
            pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends; a process that is started in it never gets one.

    Other threads of this process may receive the signal all the same, so that it is both masked,
    for what is started here, and noted by a handler. Only the main thread can set one.
    """
    came: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    earlier = signal.getsignal(signal.SIGINT)
    if main:
        signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if main:
            signal.signal(signal.SIGINT, earlier or signal.default_int_handler)
            if came and callable(earlier):
                earlier(came[0], None)


def _obey_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
