"""A tab of a headless Chromium that is told what to do by its DevTools protocol, on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

import websocket

_PATIENCE = 120.0
_KEYS = {"Tab": 9, "Enter": 13}


class Unwilling(Exception):
    """The browser doesn't start."""


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for what a browser leaves behind in the one for such files; its name is short, as a socket in it has to have a path of 107 characters."""
    return tempfile.TemporaryDirectory(prefix="koalesce-", ignore_cleanup_errors=True)


def surroundings(profile: Path, temporary: str) -> dict[str, str]:
    """The environment of a browser that writes to nobody's folders."""
    return {**os.environ, "HOME": str(profile), "TMPDIR": temporary}


class Tab:
    """One page, which is shown in a window of whatever size; `said` is what the browser complained of."""

    def __init__(self, program: str, profile: Path) -> None:
        self._temporary = temporary_folder()
        self._process = subprocess.Popen(
            [
                program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                "--remote-debugging-port=0", "--remote-allow-origins=*", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=surroundings(profile, self._temporary.name),
        )  # fmt: skip
        self._count = 0
        self.said: list[dict[str, Any]] = []
        try:
            self._socket = websocket.create_connection(self._address(profile), timeout=_PATIENCE)
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._temporary.cleanup()
            raise
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(_PATIENCE)
        self._temporary.cleanup()

    def _address(self, profile: Path) -> str:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            try:
                port = (profile / "DevToolsActivePort").read_text().split()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=_PATIENCE) as answer:
                    return next(each["webSocketDebuggerUrl"] for each in json.load(answer) if each["type"] == "page")
            except (OSError, IndexError, StopIteration):
                time.sleep(0.1)
        raise Unwilling

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, and its result."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            if answer.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self.said.append(answer["params"])

    def show(self, page: Path, *, width: int = 1180, scheme: str = "light", media: str = "") -> None:
        """Load a page, and wait until it's there."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=features)
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.ask("Page.navigate", url=page.as_uri())
        end = time.monotonic() + _PATIENCE
        while self.value("document.readyState + ' ' + location.href") != f"complete {page.as_uri()}":
            assert time.monotonic() < end, "the page isn't shown"
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript comes to."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key and let go of it."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=_KEYS[key], **text)
