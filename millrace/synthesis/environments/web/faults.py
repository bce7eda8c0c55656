"""Why a page could not be had: by the caller's own fault, or by that of the server and the line to it."""

from __future__ import annotations

from millrace.synthesis.environments import ToolError, ToolUnavailable


class ServerFault(ToolUnavailable):
    """The server, the line to it or what it sent is at fault, not the caller; `status` is 0 where it gave none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


class HttpRefused(ToolError):
    """The server refused the request: it is for something that is not there, or not for everybody."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


def of_status(url: str, status: int) -> ServerFault | HttpRefused:
    """The error that an error status stands for."""
    kind = ServerFault if status in (408, 425, 429) or status >= 500 else HttpRefused
    return kind(f"{url} answers {status}", status)
