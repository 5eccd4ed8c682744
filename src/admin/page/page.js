// Keeps the page live: each message of /events is the content of <main>, in the form in which the page was first sent. Only
// differing nodes are changed, so that selection, focus and scroll position stay.
"use strict";
(() => {
  const main = document.querySelector("main");
  const live = document.getElementById("live");
  const filter = document.getElementById("filter");
  let source = null;
  let heard = Date.now();

  function sync(now, next) {
    for (const { name } of [...now.attributes]) if (!next.hasAttribute(name)) now.removeAttribute(name);
    for (const { name, value } of next.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
    const keyed = new Map([...now.children].filter((one) => one.dataset.key).map((one) => [one.dataset.key, one]));
    [...next.childNodes].forEach((child, at) => {
      let mine = now.childNodes[at];
      const known = child.dataset && child.dataset.key && keyed.get(child.dataset.key);
      if (known && known !== mine) {
        now.insertBefore(known, mine || null);
        mine = known;
      }
      if (!mine) now.append(child.cloneNode(true));
      else if (mine.nodeType !== child.nodeType || mine.nodeName !== child.nodeName) mine.replaceWith(child.cloneNode(true));
      else if (child.nodeType === Node.TEXT_NODE) mine.nodeValue === child.nodeValue || (mine.nodeValue = child.nodeValue);
      else sync(mine, child);
    });
    while (now.childNodes.length > next.childNodes.length) now.lastChild.remove();
  }

  function sift() {
    const words = filter.value.trim().toLowerCase();
    let rows = 0;
    for (const row of main.querySelectorAll("tr[data-key]")) {
      rows += 1;
      row.hidden = !row.textContent.toLowerCase().includes(words);
    }
    filter.parentElement.hidden = rows < 8;
  }

  function show(html) {
    const next = new DOMParser().parseFromString(html, "text/html").querySelector("main");
    if (!next) return;
    sync(main, next);
    document.title = main.dataset.title;
    heard = Date.now();
    sift();
  }

  function listen() {
    if (source) source.close();
    source = document.hidden ? null : new EventSource("/events");
    if (source) source.onmessage = (message) => show(message.data);
  }

  document.addEventListener("visibilitychange", listen);
  filter.addEventListener("input", sift);
  main.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-post]");
    if (!button) return;
    const answer = await fetch(button.dataset.post, { method: "POST", headers: { "X-Forwarder": "1" } });
    live.textContent = (await answer.text()).trim();
  });
  setInterval(() => {
    const seconds = Math.round((Date.now() - heard) / 1000);
    const lost = seconds > 10 && !document.hidden;
    live.textContent = lost ? `no answer from forwarder for ${seconds} s: what is below is old` : "live";
    live.className = lost ? "bad" : "soft";
    if (lost && source && source.readyState === EventSource.CLOSED) listen();
  }, 2000);
  sift();
  listen();
})();
