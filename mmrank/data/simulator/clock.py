"""The time line of the simulated shop, in seconds since 1970 (UTC).

Users browse for 120 days; then result pages are logged for 60 days. Sales and ratings are counted
at the start of the log, so no figure depends on what happens on a logged page.
"""

from __future__ import annotations

import datetime

DAY = 86_400
START = int(datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc).timestamp())
LOG_START = START + 120 * DAY
LOG_END = LOG_START + 60 * DAY
