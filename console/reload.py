"""Owns what of a running console follows new settings: its names, the proxies that it believes, and what it shows."""

from functools import partial

from console.desk import Desk
from runtime.reload import Switch
from runtime.settings.oidc import unsupported
from runtime.settings.settings import Settings, SettingsError


class Following:
    """One console as it takes new settings."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def prepare(self, settings: Settings) -> Switch:
        """A console can take any settings that can be read, and whose provider it can speak to. Raises SettingsError."""
        if why := unsupported(settings.console.oidc):
            raise SettingsError(f"{settings.source}: [console.oidc]: {why}")
        return partial(self._switch, settings)

    async def _switch(self, settings: Settings) -> None:
        self._desk.take(settings)
