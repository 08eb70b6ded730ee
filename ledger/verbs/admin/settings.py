"""Owns the reads of the configuration through a console: what it is, what a reload would change, what one came to."""

from ledger.rules.grants import Grant
from ledger.verbs.admin.base import Reading
from ledger.verbs.base import Services
from schemas.admin import reads
from schemas.admin.settings import SettingsCheck, SettingsQuery, SettingsReloaded
from schemas.verbs.base import Rows


async def _settings(services: Services, _grant: Grant, _form: SettingsQuery) -> Rows:
    return services.configured.shown()


async def _check(services: Services, _grant: Grant, _form: SettingsCheck) -> Rows:
    return await services.configured.check()


async def _reloaded(services: Services, grant: Grant, form: SettingsReloaded) -> Rows:
    return await services.configured.reload(grant, form.id)


SETTINGS = Reading(question=reads.SETTINGS, answer=_settings)
SETTINGS_CHECK = Reading(question=reads.SETTINGS_CHECK, answer=_check)
SETTINGS_RELOADED = Reading(question=reads.SETTINGS_RELOADED, answer=_reloaded)
