"""Checks that the status page can be used by keyboard, with a screen reader and with impaired sight.

Each check returns the problems that it found. `check` also plants a bug for each check in the open page, and expects it to be found.
"""

# Contrast of every visible text with its background (WCAG 2.2, 1.4.3: 4.5 to 1, large text 3 to 1), of lines, borders and
# the mark of the focus (1.4.11: 3 to 1).
CONTRAST = """(() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const seen = (one) => one.getClientRects().length > 0 && getComputedStyle(one).visibility === "visible";
  const wrong = [];
  const want = (what, front, back, least) => {
    const found = ratio(parse(front), back);
    if (found < least) wrong.push(`contrast ${found.toFixed(2)} of ${what}, at least ${least} is needed`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  while (texts.nextNode()) {
    const one = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !seen(one) || ["SCRIPT", "STYLE"].includes(one.tagName)) continue;
    const style = getComputedStyle(one);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    want(`"${texts.currentNode.data.trim().slice(0, 30)}"`, style.color, behind(one), large ? 3 : 4.5);
    count += 1;
  }
  for (const one of document.querySelectorAll("polyline")) want("a graph", getComputedStyle(one).stroke, behind(one.closest("section")), 3);
  for (const one of document.querySelectorAll("input, button")) if (seen(one)) want("the border of " + one.tagName, getComputedStyle(one).borderTopColor, behind(one), 3);
  if (count < 50) wrong.push(`only ${count} texts were looked at`);
  return wrong;
})()"""

# What a screen reader uses: landmarks, headings, names, header cells.
STRUCTURE = """(() => {
  const wrong = [];
  const all = (what) => [...document.querySelectorAll(what)];
  if (!document.documentElement.lang) wrong.push("the page has no language");
  for (const one of ["header", "main", "h1"]) if (all(one).length !== 1) wrong.push(`${all(one).length} of <${one}>`);
  for (const one of all("section")) {
    const name = document.getElementById(one.getAttribute("aria-labelledby") || "");
    if (!name || !one.contains(name) || !name.textContent.trim()) wrong.push("a section without a name");
  }
  let level = 0;
  for (const one of all("h1, h2, h3")) {
    const now = Number(one.tagName[1]);
    if (now > level + 1) wrong.push(`h${now} "${one.textContent}" comes after h${level}`);
    level = now;
  }
  for (const one of all("th")) if (!one.getAttribute("scope")) wrong.push(`header cell "${one.textContent}" without a scope`);
  for (const one of all("table")) {
    if (!one.caption && !one.closest("section")) wrong.push("a table without a name");
    const columns = one.querySelectorAll("thead th").length;
    for (const row of one.tBodies[0].rows) if (row.cells.length !== columns) wrong.push("a row with other cells than the head");
  }
  for (const one of all("svg")) if (one.getAttribute("role") !== "img" || !one.getAttribute("aria-label")) wrong.push("a graph without words");
  for (const one of all("input")) if (!one.labels.length) wrong.push("an input without a label");
  for (const one of all("button, a")) if (!one.textContent.trim()) wrong.push("a button or link without a name");
  if (!document.querySelector(".verdict").getAttribute("aria-live")) wrong.push("the verdict is not read out when it changes");
  const ids = all("[id]").map((one) => one.id);
  for (const id of ids) if (ids.filter((other) => other === id).length > 1) wrong.push(`two elements are called ${id}`);
  return wrong;
})()"""

FOCUSABLE = """[...document.querySelectorAll("a[href], button, input")].filter((one) => one.getClientRects().length)"""


def press(browser, key, code):
    """Presses a key as a person does."""
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                     **(text if kind == "keyDown" else {}))


def keyboard(browser):
    """Tab reaches every control, in the order of the page, and the focus is visible on each."""
    wrong = []
    browser.run("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
    # Start at the top of the document, wherever the last click was.
    browser.run("(() => { const top = document.querySelector('h1'); top.tabIndex = -1; top.focus(); top.removeAttribute('tabindex') })()")
    count = browser.run(f"{FOCUSABLE}.length")
    if count < 3:
        wrong.append(f"only {count} elements can be used")
    for number in range(count):
        press(browser, "Tab", 9)
        at = browser.run(f"{FOCUSABLE}.indexOf(document.activeElement)")
        if at != number:
            wrong.append(f"press {number + 1} of Tab leads to element {at + 1}")
            break
        mark = browser.run("""(() => { const style = getComputedStyle(document.activeElement);
            return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 })()""")
        if not mark:
            wrong.append(f"the focus of element {number + 1} cannot be seen")
    return wrong


# Each planted bug, and the words that the check must report.
PLANTED = [
    (CONTRAST, "document.documentElement.style.setProperty('--soft', '#999999')", "contrast"),
    (CONTRAST, "document.documentElement.style.setProperty('--plot', '#dddddd')", "a graph"),
    (STRUCTURE, "document.querySelector('th').removeAttribute('scope')", "without a scope"),
    (STRUCTURE, "document.querySelector('section').removeAttribute('aria-labelledby')", "a section without a name"),
    (STRUCTURE, "document.querySelector('main h2').outerHTML = '<h3>x</h3>'", "comes after h1"),
    (STRUCTURE, "document.querySelector('.verdict').removeAttribute('aria-live')", "not read out"),
    (keyboard, "[...document.querySelectorAll('main a')].at(-1).tabIndex = 5", "of Tab leads"),
    (keyboard, "document.body.insertAdjacentHTML('beforeend', '<style>:focus-visible { outline: none !important }</style>')", "cannot be seen"),
]


def found(browser, check):
    return browser.run(check) if isinstance(check, str) else check(browser)


def check(browser, url):
    """Checks the page in both colour schemes, then each planted bug, which must be found."""
    browser.until("the graphs are drawn", "document.querySelector('polyline') !== null", 60)
    for scheme in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for one in (CONTRAST, STRUCTURE, keyboard):
            wrong = found(browser, one)
            assert not wrong, f"{scheme}: {wrong}"
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    browser.call("Page.setBypassCSP", enabled=True)
    for one, bug, words in PLANTED:
        browser.open(url)
        # Nothing repairs the page meanwhile.
        browser.run("window.EventSource = function () { this.close = () => {} }; document.dispatchEvent(new Event('visibilitychange'))")
        browser.run(bug)
        wrong = found(browser, one)
        assert any(words in text for text in wrong), f"{bug}: not found, but {wrong}"
    browser.call("Page.setBypassCSP", enabled=False)
    browser.open(url)
    print(f"  keyboard, structure and contrast are good, and {len(PLANTED)} planted bugs are found", flush=True)
