"""A browser without a window that finds nothing but this machine."""

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

Found = TypeVar("Found")


class Browser:
    """Chromium, driven over WebDriver; a page is what a person can see of it."""

    def __init__(self, url: str, screenshots: Path) -> None:
        webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
        program, driver = find_program("chromium", "chromium-browser"), find_program("chromedriver")
        self._url, self._screenshots = url, screenshots
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for argument in (
            *("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *(("--no-sandbox",) if os.geteuid() == 0 else ()),
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        service = webdriver.ChromeService(driver)
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_script_timeout(600)

    def open(self, path: str = "/", *, width: int = 1280) -> None:
        """Opens a page, as wide as a desk or a phone, and waits for its first field."""
        self._resize(width, 900)
        self.driver.get(self._url + path)
        self.one("textarea")

    def _resize(self, width: int, height: int) -> None:
        # The window itself cannot be as narrow as a phone.
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def all(self, selector: str) -> list:
        """Returns what can be seen of the elements that a CSS selector finds."""
        found = self.driver.find_elements("css selector", selector)
        return [element for element in found if element.is_displayed()]

    def one(self, selector: str):
        """Waits until exactly one element can be seen, and returns it."""
        return self.wait(lambda: self.all(selector) if len(self.all(selector)) == 1 else [])[0]

    def wait(self, find: Callable[[], Found], seconds: float = 600) -> Found:
        """Waits until something is found; what the page takes away meanwhile is not."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if found := find():
                    return found
            except StaleElementReferenceException:
                pass
            time.sleep(0.05)
        self.screenshot("timeout")
        raise TimeoutError(self.driver.find_element("tag name", "body").text)

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def tab(self, name: str) -> None:
        (button,) = self.wait(
            lambda: [it for it in self.all("button[role=tab]") if it.text == name]
        )
        button.click()
        self.wait(lambda: button.get_attribute("aria-selected") == "true")

    def type(self, text: str) -> None:
        """Types a text into the field that can be seen, in place of what is there."""
        field = self.one("textarea")
        field.clear()
        field.send_keys(text + "\n")

    def drag(self, canvas, points: Sequence[tuple[float, float]]) -> None:
        """Moves the pressed pointer from point to point, given as shares of a canvas's sides."""
        from selenium.webdriver import ActionChains

        width, height = canvas.size["width"], canvas.size["height"]
        places = [(round((x - 0.5) * width), round((y - 0.5) * height)) for x, y in points]
        chain = ActionChains(self.driver, duration=20)
        chain.move_to_element_with_offset(canvas, *places[0]).click_and_hold()
        for place in places[1:]:
            chain.move_to_element_with_offset(canvas, *place)
        chain.release().perform()

    def requests(self) -> list[str]:
        """Returns the addresses that were asked for since the last time."""
        messages = (
            json.loads(it["message"])["message"] for it in self.driver.get_log("performance")
        )
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def errors(self) -> list[str]:
        """Returns what went wrong in the page since the last time."""
        return [it["message"] for it in self.driver.get_log("browser") if it["level"] == "SEVERE"]

    def screenshot(self, name: str) -> Path:
        """Keeps a picture of the whole page."""
        page = self.driver.execute_script(
            "const page = document.scrollingElement; return [innerWidth, page.scrollHeight]"
        )
        self._resize(page[0], max(page[1], 600))
        path = self._screenshots / f"{name}.png"
        self.driver.save_screenshot(str(path))
        return path


def find_program(*names: str) -> str:
    """Returns the path of one of some programs, or skips the test."""
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"{names[0]} is not installed: apt-get install chromium chromium-driver")
