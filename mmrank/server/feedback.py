"""POST /feedback: takes what users did on the pages that /rank gave, for the log."""

from __future__ import annotations

import time

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mmrank.data.page_log_lines import Feedback
from mmrank.server.errors import (
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    ServingError,
)
from mmrank.server.feedback_request import EVENTS, read_feedback
from mmrank.server.guard.audit import note
from mmrank.server.guard.options import Limits
from mmrank.server.json_tensors import parse_object
from mmrank.server.models import ModelService
from mmrank.server.off_loop import run_inline_or_in_thread
from mmrank.server.page_recorder import PageRecorder


class FeedbackEndpoint:
    """The /feedback endpoint.

    The items in feedback must be of the page, if this server remembers it. Feedback on any other
    page is taken and counted, since another server may have shown the page, or this one before it
    was started again; whoever reads the log leaves out what belongs to no page.

    Args:
      service: Gives the name of the model, and takes the count of requests.
      recorder: Logs feedback, and knows the latest pages.
      limits: The largest lists that are accepted.
    """

    def __init__(self, service: ModelService, recorder: PageRecorder, limits: Limits):
        self._service, self._recorder, self._most = service, recorder, limits.candidates

    def route(self) -> Route:
        """Returns the route to pass to `build_app`."""
        return Route("/feedback", self.handle, methods=["POST"])

    async def handle(self, request: Request) -> Response:
        """Answers one request, and counts it."""
        started = time.monotonic()
        code = "OK"
        try:
            body = await request.body()
            reply = await run_inline_or_in_thread(len(body), self._answer, body)
            return Response(reply, media_type="application/json")
        except ServingError as error:
            code = error.code
            raise
        except Exception:
            code = "INTERNAL"
            raise
        finally:
            seconds = time.monotonic() - started
            name = self._service.name
            self._service.metrics.request(name, None, "feedback", code, seconds, "REST")

    def _answer(self, body: bytes) -> bytes:
        if not self._recorder.logs:
            raise ServingError(
                FAILED_PRECONDITION,
                "this server logs no pages, so that feedback would be lost; set log.folder",
            )
        feedback = read_feedback(parse_object(body), self._most, time.time())
        note(page=feedback.page)
        known = self._known(feedback)
        if not self._recorder.feedback(feedback, known):
            raise ServingError(
                RESOURCE_EXHAUSTED, "too much waits to be written to the log; try again later"
            )
        return orjson.dumps({"page": feedback.page, "known": known})

    def _known(self, feedback: Feedback) -> bool:
        """Returns whether the page is remembered; its items are checked then."""
        for key in (*EVENTS, "dwell"):
            foreign = self._recorder.foreign(feedback.page, list(getattr(feedback, key)))
            if foreign is None:
                return False
            if foreign:
                raise ServingError(
                    INVALID_ARGUMENT, f'"{key}": {foreign[0][:60]!r} was not on the page'
                )
        return True
