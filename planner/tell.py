"""Owns how notices reach those who are to be told: a command, webhooks, and whatever apprise knows, side by side.

Whoever does not get one is named in one line, by host, program or scheme: addresses, headers and what was answered may
hold secrets. Nothing that goes wrong here ends a run, and none of it takes longer than `Teller.longest`.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from planner import messenger, webhook
from planner.audience import Notify, Webhook
from planner.clock import Clock, RealClock
from planner.command import carry_out
from planner.notice import Notice

SPARE: Final = 5.0
"""Seconds that a receiver has beyond its own, to end by itself."""
Deliver = Callable[[Notice], str]
"""Tells a receiver; what is wrong with that, or nothing."""


class Teller:
    """Those who are told. ConfigError for what can never work, MissingDependency where a package is needed."""

    def __init__(
        self, settings: Notify, say: Callable[[str], None], environ: Mapping[str, str], clock: Clock | None = None
    ) -> None:
        self._settings, self._say = settings, say
        self._receivers = list(_receivers(settings, environ, clock or RealClock()))

    @property
    def longest(self) -> float:
        """Seconds that `tell` takes at most."""
        return self._settings.timeout + SPARE if self._receivers else 0.0

    def wants(self, notice: Notice) -> bool:
        """Whether there is anybody who wants to hear of such an event."""
        return bool(self._receivers) and notice.event in self._settings.events

    def tell(self, notice: Notice) -> bool:
        """Tell all of them at once, if they want to hear of it; False when some did not get it."""
        if not self.wants(notice):
            return True
        wrong = self._told(notice)
        if wrong:
            about = f"{notice.event} of cluster {notice.cluster or '(name not known)'}"
            self._say(f"{about} was not told to {'; '.join(wrong)}")
        return not wrong

    def _told(self, notice: Notice) -> list[str]:
        """What went wrong with whom. Each has a thread: what is behind a plugin may never answer."""
        found = [f"no end within {self._settings.timeout:g} s (notify.timeout)"] * len(self._receivers)

        def deliver(number: int) -> None:
            try:
                found[number] = self._receivers[number][1](notice)
            except Exception as error:  # a plugin may raise anything, with its address in it
                found[number] = f"failed ({type(error).__name__})"

        numbers = range(len(self._receivers))
        threads = [threading.Thread(target=deliver, args=(number,), daemon=True) for number in numbers]
        for thread in threads:
            thread.start()
        clock = RealClock()
        until = clock.now() + self.longest
        for thread in threads:
            thread.join(max(0.0, until - clock.now()))
        return [f"{name}: {why}" for (name, _), why in zip(self._receivers, tuple(found), strict=True) if why]


def _receivers(settings: Notify, environ: Mapping[str, str], clock: Clock) -> Iterator[tuple[str, Deliver]]:
    """What messages call each, and how it is told."""
    if settings.command:
        yield f"notify.command ({settings.command[0]})", partial(_ordered, settings, environ)
    for number, each in enumerate(settings.webhooks):
        name = f"notify.webhooks[{number}]"
        webhook.check(each, name)
        yield f"{name} ({webhook.host(each)})", partial(_posted, each, settings.timeout, clock)
    for sender in messenger.messengers(settings, environ):
        yield sender.name, sender.send


def _ordered(settings: Notify, environ: Mapping[str, str], notice: Notice) -> str:
    return carry_out(settings.command, notice.to_json(), environ, settings.timeout, "notify.timeout")


def _posted(to: Webhook, seconds: float, clock: Clock, notice: Notice) -> str:
    return webhook.post(to, notice.to_json(), seconds, clock)
