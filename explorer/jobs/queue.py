"""The queue of background jobs: which jobs run, wait, stop and are deleted.

A job belongs to the browser that started it (`explorer.session.owners`). No other browser can see
it. Some jobs compute at a time (`explorer.limits`); the others wait in the queue. An owner without
an open page keeps the jobs for the grace time, so a reload or a short loss of connection does no
harm. After that each job stops within one step and is deleted with its result; `abandoned_notice`
gives a sentence about it. This module does not use Streamlit. The threads are daemons: they run
core code, or read the events of a worker process (`explorer.jobs.processes`).
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from explorer import metrics
from explorer.jobs.job import Job, MakeEvents, Snapshot
from explorer.limits import Limits
from explorer.logs import log_event
from explorer.memory import is_full
from explorer.texts.translate import N_
from pruning_core.history.unfinished import Carried
from pruning_core.types import PruningError

MAX_NOTICES = 200
NORMAL = Limits()
DELETED = N_(
    "{title}: its result was deleted, because this app was not open in your browser for {seconds} "
    "seconds. The plan is still in the address: you can start it again."
)
STOPPED = N_(
    "{title}: it was stopped, because this app was not open in your browser for {seconds} "
    "seconds. The plan is still in the address: you can start it again."
)


class JobQueue:
    """All jobs of the process. Any thread may call any method.

    owner (in all methods): the secret name of a browser.
    is_connected: returns True while that owner has an open page.
    limits: of jobs and of memory.
    max_finished_per_owner: finished jobs of one owner; older ones are deleted.
    """

    def __init__(
        self,
        is_connected: Callable[[str], bool] = lambda owner: True,
        limits: Limits = NORMAL,
        *,
        max_finished_per_owner: int = 6,
        max_events: int = 500_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_connected = is_connected
        self._clock = clock
        self._limits = limits
        self._max_finished_per_owner = max_finished_per_owner
        self._max_events = max_events
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._threads: dict[str, threading.Thread] = {}
        self._disconnected_since: dict[str, float] = {}
        self._notices: dict[tuple[str, str], str] = {}

    def start(
        self,
        owner: str,
        kind: str,
        title: str,
        make_events: MakeEvents,
        about: object = None,
        carried: Carried | None = None,
    ) -> Job:
        """Adds a job to the queue. It runs as soon as fewer than `running_jobs` jobs run.

        kind: the page finds its jobs by it, such as "train" or "scan".
        about: any object; the job's snapshots return it unchanged. carried: as in `Job`.

        Raises PruningError when this owner has too many active jobs, when the queue is full, or
        when the memory is used up.
        """
        self.stop_abandoned()
        with self._lock:
            self._check_space(owner)
            job = Job(
                owner,
                kind,
                title,
                make_events,
                60 * self._limits.job_minutes,
                self._max_events,
                about,
                carried,
            )
            self._jobs[job.id] = job
            self._queue.append(job)
            self._notices.pop((owner, kind), None)
            self._delete_old_jobs(owner)
        self._run_queued()
        return job

    def get(self, owner: str, job_id: str) -> Job | None:
        """The owner's job with that id, or None."""
        with self._lock:
            job = self._jobs.get(job_id)
        return job if job is not None and job.owner == owner else None

    def snapshot(self, owner: str, job_id: str, since: int = 0) -> Snapshot | None:
        """The state of the owner's job now, or None; its events from number `since` on."""
        job = self.get(owner, job_id)
        return None if job is None else job.snapshot(since, self._jobs_ahead(job))

    def snapshots(self, owner: str, kind: str | None = None) -> tuple[Snapshot, ...]:
        """The owner's jobs, newest first. kind: only the jobs of that kind."""
        self.stop_abandoned()
        with self._lock:
            jobs = [
                job
                for job in self._jobs.values()
                if job.owner == owner and kind in (None, job.kind)
            ]
        return tuple(job.snapshot(ahead=self._jobs_ahead(job)) for job in reversed(jobs))

    def stop(self, owner: str, job_id: str) -> None:
        """Asks the owner's job to stop, which it does within one step. Ignores unknown ids."""
        job = self.get(owner, job_id)
        if job is not None:
            job.stop(wanted=True)

    def abandoned_notice(self, owner: str, kind: str) -> str | None:
        """Why the owner's last job of that kind was deleted, or None.

        A job is deleted when the owner has no open page for the grace time.
        """
        with self._lock:
            return self._notices.get((owner, kind))

    def stop_abandoned(self) -> None:
        """Stops the jobs of owners without an open page for the grace time; deletes them."""
        with self._lock:
            for job in list(self._jobs.values()):
                if self._is_abandoned(job.owner):
                    job.stop(wanted=False)
                    if not job.active:
                        del self._jobs[job.id]
                        self._add_notice(job)
            owners = {job.owner for job in self._jobs.values()}
            self._disconnected_since = {
                owner: since for owner, since in self._disconnected_since.items() if owner in owners
            }
            self._queue = deque(job for job in self._queue if job.active)

    def close(self, seconds: float = 5.0) -> None:
        """Stops all jobs before the process ends. Waits up to `seconds` for each thread."""
        with self._lock:
            threads = list(self._threads.values())
            for job in self._jobs.values():
                job.stop(wanted=False)
        for thread in threads:
            thread.join(seconds)

    def numbers(self) -> dict[str, float]:
        """How many jobs run and wait, for `metrics`."""
        with self._lock:
            waiting = sum(job.active for job in self._queue)
            return {
                metrics.named("jobs", state="running"): len(self._threads),
                metrics.named("jobs", state="waiting"): waiting,
            }

    def _check_space(self, owner: str) -> None:
        """Raises PruningError when the owner may not start another job now."""
        active = [job for job in self._jobs.values() if job.owner == owner and job.active]
        if len(active) >= self._limits.jobs_per_browser:
            raise PruningError(
                N_(
                    "'{title}' is not finished. Wait until it ends or stop it, then start the next "
                    "one."
                ).format(title=active[0].title)
            )
        if sum(job.active for job in self._queue) >= self._limits.waiting_jobs:
            raise PruningError(N_("The queue is full with other people's jobs; try again later."))
        if is_full(self._limits.memory_mb):
            raise PruningError(
                N_("The memory of this server is used up; try again when other work has ended.")
            )

    def _is_abandoned(self, owner: str) -> bool:
        """True when the owner has had no open page for the grace time."""
        with self._lock:
            if self._is_connected(owner):
                self._disconnected_since.pop(owner, None)
                return False
            since = self._disconnected_since.setdefault(owner, self._clock())
            return self._clock() - since >= self._limits.grace_seconds

    def _add_notice(self, job: Job) -> None:
        happened = DELETED if job.status == "done" else STOPPED
        self._notices.pop((job.owner, job.kind), None)
        self._notices[job.owner, job.kind] = happened.format(
            title=job.title, seconds=self._limits.grace
        )
        while len(self._notices) > MAX_NOTICES:
            del self._notices[next(iter(self._notices))]

    def _jobs_ahead(self, job: Job) -> int:
        with self._lock:
            if job not in self._queue:
                return 0
            earlier = list(self._queue)[: self._queue.index(job)]
            return len(self._threads) + sum(other.active for other in earlier)

    def _delete_old_jobs(self, owner: str) -> None:
        finished = [job for job in self._jobs.values() if job.owner == owner and not job.active]
        for job in finished[: max(0, len(finished) - self._max_finished_per_owner)]:
            del self._jobs[job.id]

    def _run_queued(self) -> None:
        with self._lock:
            while self._queue and len(self._threads) < self._limits.running_jobs:
                job = self._queue.popleft()
                thread = threading.Thread(
                    target=self._run, args=(job,), name=f"job-{job.kind}-{job.id[:8]}", daemon=True
                )
                self._threads[job.id] = thread
                thread.start()

    def _run(self, job: Job) -> None:
        log_event("job started", kind=job.kind)
        job.run(lambda: self._is_abandoned(job.owner))
        seconds = round(job.snapshot().seconds, 3)
        log_event("job ended", kind=job.kind, status=job.status, seconds=seconds)
        metrics.add("jobs_ended_total", kind=job.kind, status=job.status)
        metrics.add("job_seconds_total", seconds, kind=job.kind)
        with self._lock:
            del self._threads[job.id]
        self.stop_abandoned()
        self._run_queued()
