"""Where cells are computed: in this process, in spawned workers, or on a Ray cluster. The cell function is the same."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Generic, NamedTuple, Protocol, TypeVar

from advbench.bench import interrupts
from advbench.models.extras import import_extra

Job = TypeVar("Job")
Result = TypeVar("Result")


class Ended(NamedTuple, Generic[Job, Result]):
    """A job and what became of it; result None means that its process died under it."""

    job: Job
    result: Result | None


class Engine(Protocol):
    """Yields every job with its result as it ends. The cell function and the jobs must be picklable."""

    def __call__(self, jobs: Sequence[Job], cell: Callable[[Job], Result]) -> Iterator[Ended[Job, Result]]: ...


def in_process(jobs: Sequence[Job], cell: Callable[[Job], Result]) -> Iterator[Ended[Job, Result]]:
    """One job after the other, here: consecutive jobs share what the cell function keeps in memory."""
    for job in jobs:
        interrupts.check()
        yield Ended(job, cell(job))


def in_workers(jobs: Sequence[Job], cell: Callable[[Job], Result], *, workers: int) -> Iterator[Ended[Job, Result]]:
    """`workers` spawned processes of one slot each, in the order in which jobs end.

    A process that dies takes one job with it; its slot gets a new process. `cell` and the jobs must be picklable.
    On a signal no job is started, and the workers are asked to end theirs at the next chunk.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    slots = [_Slot(threads, number) for number in range(workers)]
    waiting, running = deque(jobs), dict[Future[Result], tuple[_Slot, Job]]()
    try:
        while waiting or running:
            for slot in [slot for slot in slots if slot.free][: len(waiting)]:
                job = waiting.popleft()
                running[slot.submit(cell, job)] = (slot, job)
            # Woken twice a second: a signal does not end a wait.
            done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                slot, job = running.pop(future)
                yield Ended(job, slot.collect(future))
            interrupts.check()
    except interrupts.Interrupted:
        for slot in slots:
            slot.ask_to_end()
        wait(running)
        raise
    finally:
        for slot in slots:
            slot.close()


def on_ray(jobs: Sequence[Job], cell: Callable[[Job], Result], *, gpus: float) -> Iterator[Ended[Job, Result]]:
    """A Ray task per job, each in a process of its own, with `gpus` GPUs (0 on CPUs); the results folder is shared.

    Uses the cluster that RAY_ADDRESS names, or else starts one on this machine. Ray tries again when a node dies.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    package = import_extra("ray", "ray")
    if not package.is_initialized():
        package.init(include_dashboard=False, log_to_driver=False)

    def act(job: Job) -> Result:  # Ray takes functions only, and `cell` may be a partial one
        return cell(job)

    task = package.remote(max_calls=1, num_gpus=gpus, max_retries=2)(act)
    running = {task.remote(job): job for job in jobs}
    try:
        while running:
            interrupts.check()
            for reference in package.wait(list(running), timeout=0.5)[0]:
                job = running.pop(reference)
                try:
                    yield Ended(job, package.get(reference))
                except package.exceptions.RayError:
                    yield Ended(job, None)
    finally:
        for reference in running:
            package.cancel(reference, force=True)
        package.shutdown()


def local(workers: int, device: str) -> Engine:
    """This machine: this process for one worker."""
    return in_process if workers == 1 else partial(in_workers, workers=workers)


def ray(workers: int, device: str) -> Engine:
    """A Ray cluster, which places as many cells as it has room for; on "cuda", each gets a GPU."""
    return partial(on_ray, gpus=1.0 if device.startswith("cuda") else 0.0)


ENGINES: Mapping[str, Callable[[int, str], Engine]] = {"local": local, "ray": ray}


@dataclass
class _Slot:
    """A place for one job: a pool of one process, replaced when that process dies."""

    threads: int
    number: int
    pool: ProcessPoolExecutor | None = None
    pid: Future[int] | None = None
    free: bool = True

    def submit(self, cell: Callable[[Job], Result], job: Job) -> Future[Result]:
        """Start `job` in this slot's process, or in a new one if that died while it had nothing to do."""
        self.free = False
        try:
            return self._opened().submit(cell, job)
        except BrokenProcessPool:
            self.close()
            return self._opened().submit(cell, job)

    def _opened(self) -> ProcessPoolExecutor:
        if self.pool is None:
            spawn = multiprocessing.get_context("spawn")
            share = (self.threads, self.number)
            self.pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin_worker, initargs=share)
            self.pid = self.pool.submit(os.getpid)
        return self.pool

    def collect(self, future: Future[Result]) -> Result | None:
        """The job's result, or None if the process died. Errors of the cell function itself pass through."""
        self.free = True
        try:
            return future.result()
        except BrokenProcessPool:
            self.close()
            return None

    def ask_to_end(self) -> None:
        """Pass a signal on to the process, if it is at work."""
        if self.pid is None or self.free:
            return
        # A process that has just died needs no signal.
        with contextlib.suppress(BrokenProcessPool, ProcessLookupError):
            os.kill(self.pid.result(), signal.SIGTERM)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
        self.pool, self.pid = None, None


def _begin_worker(threads: int, number: int) -> None:
    """Set up a worker: its share of cores and GPUs, signals taken as requests, and no life after its parent."""
    import torch

    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
    interrupts.listen_as_worker()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    """Leave when `parent` is gone, however it went: nobody would collect the result."""
    parent.join()
    os._exit(1)
