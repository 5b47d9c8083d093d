"""The tab in a browser, as a user has it: what is shown, and what one can do."""

import os
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from browser import PATIENCE
from PIL import Image
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

N, N_OTHER = 300, 40  # episodes of the made-up runs
RUN, OTHER = "ppo/tensorboard", "evolution/tensorboard"
SHOTS = os.environ.get("NAS_GYM_SCREENSHOTS")  # a folder for pictures; without it none is made
HARMLESS = ("Multiple instances of Three.js", "software WebGL", "favicon.ico")  # of TensorBoard's own page


class Tab:
    """The tab inside TensorBoard's page, or (``frame=False``) its page by itself."""

    def __init__(self, window: Any, frame: bool = True) -> None:
        self.window, self.frame = window, frame
        self.said: list[str] = []

    def open(self, url: str) -> "Tab":
        """Go to an address and wait until the tab is there."""
        self.window.get("about:blank")
        self.window.get(url)
        if self.frame:
            source = "iframe[src*='plugin_entry.html?name=nas_decisions']"
            self.window.switch_to.frame(self.until(lambda: self.window.find_element(By.CSS_SELECTOR, source)))
        self.until(lambda: self.script("return document.body.dataset.ready"))
        return self

    def until(self, found: Callable[[], Any]) -> Any:
        """Return the first answer that is not empty; fails after a while."""
        end, last = time.monotonic() + PATIENCE, None
        while time.monotonic() < end:
            try:
                if answer := found():
                    return answer
            except WebDriverException as error:
                last = error
            time.sleep(0.05)
        raise AssertionError(f"waited {PATIENCE} s in vain") from last

    def script(self, text: str, *arguments: Any) -> Any:
        return self.window.execute_script(text, *arguments)

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.window.find_elements(By.CSS_SELECTOR, selector)
        return found

    def one(self, name: str) -> Any:
        """The element with this data-testid."""
        return self.window.find_element(By.CSS_SELECTOR, f"[data-testid='{name}']")

    def text(self, name: str) -> str:
        return " ".join(self.one(name).text.replace("\u00a0", " ").split())

    def waits_for(self, name: str, text: str) -> None:
        """Wait until an element says something."""
        self.until(lambda: text in self.text(name))

    def values(self, selector: str) -> list[float]:
        """Exact values of elements, from their data-value."""
        return [
            float(value)
            for value in self.script(
                "return [...document.querySelectorAll(arguments[0])].map((one) => one.dataset.value)", selector
            )
        ]

    def go(self, episode: int, decision: int = 1) -> None:
        """Choose an episode by its number, and a decision by its place, from 1."""
        field = self.one("episode-number")
        self.script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))", field, episode
        )
        self.until(lambda: f"Episode {episode} ·" in self.one_text(".growing .sentence"))
        self.until(lambda: self.all(f"[data-testid=decision][data-step='{decision - 1}']"))[0].click()
        self.waits_for("selected", f"Decision {decision} of")

    def one_text(self, selector: str) -> str:
        text: str = self.window.find_element(By.CSS_SELECTOR, selector).text
        return text

    def keys(self, *keys: str) -> None:
        ActionChains(self.window).send_keys(*keys).perform()

    def shifted(self, key: str) -> None:
        ActionChains(self.window).key_down(Keys.SHIFT).send_keys(key).key_up(Keys.SHIFT).perform()

    def slide(self, name: str, to: int) -> None:
        """Put a slider somewhere, as a pointer would."""
        self.script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", self.one(name), to
        )

    def size(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def complaints(self) -> list[str]:
        """What the console said since the last call, but for what TensorBoard's own page says."""
        said = [entry["message"] for entry in self.window.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        return [message for message in said if not any(known in message for known in HARMLESS)]

    def weak(self) -> list[str]:
        """Texts that stand out less than 4.5 : 1 from their background (WCAG 2.2, success criterion 1.4.3).

        But for what is pale since it is not decided yet, struck out, or not to be trusted.
        """
        found: list[str] = self.script(CONTRAST)
        return found

    def shoot(self, name: str) -> None:
        """Take a picture, where pictures are asked for."""
        if SHOTS:
            time.sleep(0.4)
            with Image.open(BytesIO(self.window.get_screenshot_as_png())) as taken:
                few = taken.convert("RGB").quantize(colors=128, method=Image.Quantize.MEDIANCUT)
            few.save(Path(SHOTS) / f"{name}.png", optimize=True)


CONTRAST = """
const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
const paint = canvas.getContext("2d", { willReadFrequently: true });
const rgba = (colour) => {
  paint.clearRect(0, 0, 1, 1);
  paint.fillStyle = colour;
  paint.fillRect(0, 0, 1, 1);
  return [...paint.getImageData(0, 0, 1, 1).data];
};
const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = rgba(getComputedStyle(at).backgroundColor);
    if (colour[3] > 250) return colour;
  }
  return [255, 255, 255, 255];
};
const left = ".unseen, .after, .untrusted, svg, option, .none";
const weak = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || element.closest(left) || !element.getClientRects().length) continue;
  const [front, back] = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
  const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  if (ratio < 4.5) weak.push(`${element.className} ${element.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
}
return weak;
"""
