"""A headless Chromium with an empty profile, steered through WebDriver."""

import io
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selenium.common.exceptions import NoAlertPresentException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.wait import WebDriverWait

PROGRAMS = ("chromium", "chromedriver")
PATIENCE_SECONDS = 300
"""How long anything may take on a machine that has other work as well; Chromium draws without a graphics card."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    # OHIF draws through WebGL, which Chromium does without a graphics card only when told to.
    "--enable-unsafe-swiftshader",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--force-color-profile=srgb",
)


class Browser:
    """One window of a browser. What it shows is read from its picture, as a human would."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver

    def open(self, address: str) -> None:
        """Load ``address`` and wait until the page says that it has."""
        self._driver.get(address)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function in the page and return what it returns."""
        return self._driver.execute_script(script, *arguments)

    def await_value(self, script: str, *arguments: Any, seconds: float = PATIENCE_SECONDS) -> Any:
        """Return what ``script`` returns once that is true.

        Raises:
            selenium.common.exceptions.TimeoutException: it never was.
        """
        return self.await_true(lambda: self.run(script, *arguments), script, seconds)

    def await_true(self, ask: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
        """Return the answer of ``ask`` once it is true; a page in the making may fail to answer at first."""
        wait = WebDriverWait(self._driver, seconds, 0.1, ignored_exceptions=[WebDriverException])
        return wait.until(lambda _: ask(), f"never came about: {what}")

    def await_stillness(self, pause: float = 1.0, seconds: float = PATIENCE_SECONDS) -> NDArray[np.uint8]:
        """Return the picture of the page once two of them, ``pause`` seconds apart, are the same."""
        deadline, before = time.monotonic() + seconds, self.photograph()
        while time.monotonic() < deadline:
            time.sleep(pause)
            now = self.photograph()
            if np.array_equal(now, before):
                return now
            before = now
        raise AssertionError("the page does not come to rest")

    def take_alert(self) -> str:
        """Close the page's message box and return its text; "" where there is none."""
        try:
            alert = self._driver.switch_to.alert
        except NoAlertPresentException:
            return ""
        text: str = alert.text
        alert.accept()
        return text

    def photograph(self) -> NDArray[np.uint8]:
        """Return the page as it is seen, uint8 RGB [row, column, 3]."""
        return np.asarray(Image.open(io.BytesIO(self._driver.get_screenshot_as_png())).convert("RGB"))

    def read_text(self, selector: str) -> str:
        """Return the visible text of the first element that ``selector`` (CSS) finds, lines as they are broken."""
        return str(self.run("const e = document.querySelector(arguments[0]); return e ? e.innerText : ''", selector))


def list_missing_programs() -> list[str]:
    """Return which programs that a `running_browser` needs are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextmanager
def running_browser(folder: Path, width: int = 1280, height: int = 960) -> Iterator[Browser]:
    """Run Chromium with a new profile in ``folder`` until the block ends; the window's size is in pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    # A message box is to be read, not to be closed by whatever is asked of the page next.
    options.unhandled_prompt_behavior = "ignore"
    for flag in (*_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    service = ChromeService(str(shutil.which("chromedriver")), log_output=str(folder / "chromedriver.log"))
    driver = Chrome(options=options, service=service)
    driver.set_script_timeout(PATIENCE_SECONDS)
    driver.set_page_load_timeout(PATIENCE_SECONDS)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
