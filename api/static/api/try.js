/* “Try it” in the API reference. A form is built when its part of the page is opened. The API key stays in this tab
   (sessionStorage) and is sent to this origin only. */
((our) => {
  const { make } = our;
  const STORED = "fillcast-api-key";
  const panel = document.getElementById("try");
  const keyInput = document.getElementById("api-key"), show = document.getElementById("api-key-show");
  const sender = document.getElementById("api-sender");
  const stored = () => { try { return sessionStorage.getItem(STORED) ?? ""; } catch { return ""; } };
  const store = (key) => {
    try {
      if (key) sessionStorage.setItem(STORED, key); else sessionStorage.removeItem(STORED);
    } catch { /* for this page only */ }
  };
  const keyNow = () => keyInput.value.trim(), isKey = (text) => /^[!-~]*$/.test(text);

  /* State as whom requests are sent. */
  let hasLooked = false;
  const look = async () => {
    const key = keyNow();
    hasLooked = true;
    const state = (words) => {
      if (key !== keyNow()) return;  // it was changed meanwhile
      sender.textContent = words;
      document.querySelectorAll(".api-sender").forEach((copy) => { copy.textContent = words; });
    };
    if (!isKey(key)) { state("This is no API key: a key has no spaces, and only plain letters and digits."); return; }
    const request = { method: "GET", address: panel.dataset.me, headers: {} };
    try {
      const response = await our.send(request, { key, isSigned: true });
      const name = response.ok ? (await response.json()).username : "";
      const how = key ? "with this API key" : "as the signed-in user; a key changes that";
      if (name) state(`Requests are sent as ${name}, ${how}.`);
      else if (response.status === 401 && key) state("This key is unknown, expired or revoked.");
      else if (response.status === 401) state("There is no key, and no user is signed in: only public operations answer.");
      else state(key ? "Requests are sent with this API key." : "Requests are sent as the signed-in user.");
    } catch { state("The server cannot be reached, or the connection broke."); }
  };
  const changeKey = () => { store(keyNow()); look(); };

  const curlPart = () => {
    const text = make("pre", { tabindex: "0", role: "group", "aria-label": "The same with curl" });
    const copy = our.copyButton("Copy the command", () => text.textContent);
    const element = make("div", {}, make("h3", {}, "The same with curl"), text, make("div", { class: "fc-actions" }, copy));
    return { element, show: (command) => { text.textContent = command; } };
  };

  const sendWith = async ({ section, form, fields, button, place, say }) => {
    if (button.hasAttribute("aria-busy")) return;  // the answer to the first press is on its way
    const faults = fields.faults(), key = keyNow(), request = fields.request();
    fields.mark(faults);
    if (faults.length) return;
    if (form.isSigned && !isKey(key)) { keyInput.focus(); return; }
    const again = () => our.send(request, { key, isSigned: form.isSigned });
    button.setAttribute("aria-busy", "true");
    place.replaceChildren();
    say("Sending…");
    const start = performance.now(), wasOffline = !navigator.onLine;
    try {
      const response = await again();
      await our.showAnswer(response, { ms: Math.round(performance.now() - start), section, place, say, again });
    } catch { say(our.failureOf(request, wasOffline)); }
    button.removeAttribute("aria-busy");
  };

  const build = (details) => {
    const section = details.closest("section"), form = JSON.parse(details.querySelector("script").textContent);
    const fields = our.fieldsOf(section, form), curl = curlPart();
    const warning = form.effect ? [make("p", { class: "api-real" }, form.effect)] : [];
    const who = form.isSigned
      ? [make("span", { class: "fc-3 api-sender" }, sender.textContent), make("a", { class: "fc-3", href: "#try" }, "Change who sends")]
      : [];
    /* Enter in a field sends what only reads; what has an effect needs the button. */
    const button = make("button", {
      type: form.effect ? "button" : "submit", class: "fc-btn is-primary", "aria-describedby": `${section.id}-title`,
    }, form.effect ? "Send it" : "Send");
    const status = make("p", { role: "status" }), place = make("div");
    const say = (...words) => status.replaceChildren(...words);
    const send = () => sendWith({ section, form, fields, button, place, say });
    const update = () => curl.show(our.curlOf(fields.request(), form));
    const made = make("form", { class: "fc-form", novalidate: true }, ...fields.elements,
      ...warning, make("div", { class: "fc-actions" }, button, ...who), make("div", {}, status, place), curl.element);
    made.addEventListener("submit", (event) => { event.preventDefault(); if (!form.effect) send(); });
    if (form.effect) button.addEventListener("click", send);
    made.addEventListener("input", update);
    update();
    details.querySelector("p").replaceWith(made);
  };
  const open = (details) => {
    if (!details.open || details.querySelector("form")) return;
    build(details);
    if (!hasLooked) look();
  };

  show.addEventListener("click", () => {
    const isShown = keyInput.type === "password";
    keyInput.type = isShown ? "text" : "password";
    show.setAttribute("aria-pressed", String(isShown));
  });
  document.getElementById("api-key-forget").addEventListener("click", () => { keyInput.value = ""; changeKey(); keyInput.focus(); });
  keyInput.addEventListener("change", changeKey);
  keyInput.value = stored();
  if (keyInput.value) look();
  panel.append(make("datalist", { id: "api-etags" }));
  panel.hidden = false;
  document.querySelectorAll(".api-try").forEach((details) => {
    details.addEventListener("toggle", () => open(details));
    open(details);  // a browser may restore what was open
  });
})(window.fillcastTry ??= {});
