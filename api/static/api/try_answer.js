/* What came back: status, milliseconds, headers and body; of a streamed file the first lines, and the whole to download. */
((our) => {
  const { make } = our;
  const LINES = 100;
  const HEADERS = [
    "Content-Type", "ETag", "Location", "Retry-After", "Idempotency-Replayed", "Deprecation", "Sunset", "Link",
    "RateLimit", "Content-Disposition", "X-Request-ID",
  ];
  const typeOf = (response) => response.headers.get("Content-Type") ?? "";
  const isFile = (response) => response.ok && /^(text\/csv|application\/x-ndjson)/.test(typeOf(response));

  const firstLines = async (response) => {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
      const { done, value } = await reader.read();
      if (done) return { text, isWhole: true };
      text += value;
      const lines = text.split("\n");
      if (!lines[LINES]) continue;
      await reader.cancel();
      return { text: lines.slice(0, LINES).join("\n"), isWhole: false };
    }
  };
  const save = async (response) => {
    const name = response.headers.get("Content-Disposition")?.match(/filename="([^"]+)"/)?.[1] ?? "fillcast.txt";
    const address = URL.createObjectURL(await response.blob());
    make("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  };
  const downloadOf = (again) => {
    const button = make("button", { type: "button", class: "fc-btn" }, "Download the whole file");
    const note = make("span", { class: "fc-3", role: "status" });
    button.addEventListener("click", async () => {
      if (button.hasAttribute("aria-busy")) return;
      button.setAttribute("aria-busy", "true");
      note.textContent = "Downloading…";
      try {
        const response = await again();
        if (response.ok) await save(response);
        note.textContent = response.ok ? "Downloaded." : `Refused: ${response.status}. Send the request again to see why.`;
      } catch { note.textContent = "The download broke off. Try again."; }
      button.removeAttribute("aria-busy");
    });
    return [button, note];
  };

  const headersOf = (response) => {
    const shown = HEADERS.filter((name) => response.headers.has(name));
    const rows = shown.map((name) => make("div", {},
      make("dt", {}, make("code", {}, name)),
      make("dd", { class: "fc-wrap" }, response.headers.get(name))));
    return make("div", { role: "group", "aria-label": "Headers of the answer" }, make("dl", { class: "api-fields" }, ...rows));
  };
  const bodyOf = (text, ...actions) => [
    make("pre", { tabindex: "0", role: "group", "aria-label": "Body of the answer" }, text),
    make("div", { class: "fc-actions" }, our.copyButton("Copy the body", () => text), ...actions),
  ];
  const read = async (response, again) => {
    if (isFile(response)) {
      const { text, isWhole } = await firstLines(response);
      const note = make("p", { class: "fc-3" }, isWhole ? "These are all lines." : `These are the first ${LINES} lines.`);
      return [note, ...bodyOf(text.trimEnd(), ...downloadOf(again))];
    }
    const text = await response.text();
    if (!text) return [make("p", { class: "fc-3" }, "The answer has no body.")];
    return bodyOf(/json/.test(typeOf(response)) ? our.pretty(text) : text);
  };

  /* Remember the ETag for fields of If-Match. */
  const keepTag = (response) => {
    const tag = response.headers.get("ETag"), list = document.getElementById("api-etags");
    if (tag && ![...list.options].some((one) => one.value === tag)) list.prepend(make("option", { value: tag }));
  };

  /* Show an answer in `place`; `say` states its status. again: sends the same once more. */
  our.showAnswer = async (response, { ms, section, place, say, again }) => {
    const meaning = section.querySelector(`[data-answer="${response.status}"]`)?.textContent.trim() ?? response.statusText;
    const status = make("strong", { class: `fc-i ${response.status < 400 ? "is-ok" : "is-failed"}` }, String(response.status));
    const isReplayed = response.headers.has("Idempotency-Replayed");
    const replayed = isReplayed ? " Nothing was done again: this is the first answer. For a new request take a new id." : "";
    keepTag(response);
    place.replaceChildren(headersOf(response), ...await read(response, again));
    say(status, ` in ${ms.toLocaleString("en")} ms. ${meaning}${replayed}`);
  };

  /* Return why no answer came, and what to do. wasOffline: before it was sent; a network that breaks later may have
     carried it. */
  our.failureOf = (request, wasOffline) => {
    if (wasOffline) return "Nothing was sent: this browser is offline.";
    const lost = "No answer came: the server cannot be reached, or the connection broke.";
    if (request.method === "GET") return `${lost} Send it again.`;
    return "Idempotency-Key" in request.headers
      ? `${lost} It may have been done. Send it again with the same Idempotency-Key: it is done once.`
      : `${lost} It may have been done. Read the object first, then decide whether to send it again.`;
  };
})(window.fillcastTry ??= {});
