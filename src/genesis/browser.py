"""A headless Chromium, spoken to in the DevTools protocol over a pipe: pages as pictures, and what they did wrong.

Nothing is installed for it: any Chromium or Chrome on PATH will do. It starts with an empty profile and no network of
its own, so whatever a page asks the network for is in `requests`.
"""

import base64
import json
import selectors
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from genesis.common.errors import UserError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and answers on 4
PIPES = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
PATIENCE_S = 60.0


def find_chromium() -> str | None:
    """The path of the first browser of NAMES on PATH."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of one browser; a context manager.

    Attributes:
        problems: errors and warnings of the console, and exceptions, as text, since the last `open`.
        requests: every address that the page asked for since the last `open`, its own first.
    """

    def __init__(self, program: str | None = None) -> None:
        """Start the browser.

        Raises:
            UserError: there is none.
        """
        program = program or find_chromium()
        if program is None:
            raise UserError(f"no browser found; install Chromium (looked on PATH for {', '.join(NAMES)})")
        self.profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        command = ["sh", "-c", PIPES, "sh", program, *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.ready = selectors.DefaultSelector()
        self.ready.register(self.process.stdout, selectors.EVENT_READ)
        self.unread, self.sent, self.session = b"", 0, None
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self.ready.close()
        self.process.stdin.close()
        self.process.stdout.close()
        self.profile.cleanup()

    def open(self, url: str, width: int, height: int = 900, dark: bool = False, scale: float = 1) -> None:
        """Load a page in a window of so many CSS pixels, in a light or dark desktop, and wait for its load event."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.problems.clear()
        self.requests.clear()
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, a promise's when it is kept.

        Raises:
            RuntimeError: it threw.
        """
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {_thrown(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = PATIENCE_S) -> None:
        """Return when a JavaScript condition holds.

        Raises:
            TimeoutError: it never did.
        """
        end = time.monotonic() + seconds
        while not self.evaluate(f"!!({condition})"):
            if time.monotonic() > end:
                raise TimeoutError(f"{condition}: not so after {seconds:g} s; problems: {self.problems}")
            time.sleep(0.05)

    def picture(self, path: Path, selector: str = "html") -> None:
        """Write a PNG of the whole of the first element that matches."""
        box = f"(b => [b.x + scrollX, b.y + scrollY, b.width, b.height])(document.querySelector({selector!r}).getBoundingClientRect())"
        x, y, width, height = self.evaluate(box)
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        found = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol and its answer; what happens meanwhile is noted.

        Raises:
            RuntimeError: the browser refuses it, or is gone.
            TimeoutError: no answer in PATIENCE_S.
        """
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.process.stdin.write(json.dumps(message).encode() + b"\0")
        while True:
            found = self._read(method)
            if found.get("id") == self.sent:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']['message']}")
                return found["result"]
            self._note(found.get("method", ""), found.get("params", {}))

    def _read(self, method: str) -> dict[str, Any]:
        while b"\0" not in self.unread:
            if not self.ready.select(PATIENCE_S):
                raise TimeoutError(f"{method}: the browser did not answer in {PATIENCE_S:g} s")
            data = self.process.stdout.read(1 << 20)
            if not data:
                raise RuntimeError(f"{method}: the browser ended")
            self.unread += data
        text, self.unread = self.unread.split(b"\0", 1)
        return json.loads(text)

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.problems.append(_thrown(params["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(part.get("value", part.get("description"))) for part in params["args"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])


def _thrown(details: dict[str, Any]) -> str:
    return details.get("exception", {}).get("description") or details["text"]
