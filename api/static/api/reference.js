/* The API reference: Swagger UI, and what it lacks. Who sends is stated; what was typed is sent as it is, or not at all; a lost
   answer has plain words. The API key stays in this tab (sessionStorage) and is sent to this origin only. */
(async () => {
  const STORED = "fillcast-api-key", KEY_OF_REQUEST = "Idempotency-Key";
  const byId = (id) => document.getElementById(id);
  const keyInput = byId("api-key"), show = byId("api-key-show"), sender = byId("api-sender"), page = byId("reference");

  const stored = () => { try { return sessionStorage.getItem(STORED) ?? ""; } catch { return ""; } };
  const store = (key) => {
    try {
      if (key) sessionStorage.setItem(STORED, key); else sessionStorage.removeItem(STORED);
    } catch { /* for this page only */ }
  };
  const keyNow = () => keyInput.value.trim(), isKey = (text) => /^[!-~]*$/.test(text);
  const csrfToken = () => document.cookie.match(/(?:^|; )csrftoken=(\w+)/)?.[1] ?? "";
  const takesKey = (address) => new URL(address, location).pathname.startsWith("/api/");  // an alert's token is in its path

  /* Return the request as it is sent: with the key, or without one as the user who is signed in. Throws what is wrong with it. */
  const requestOf = (address, { method, headers, body }) => {
    const key = keyNow(), isSigned = takesKey(address), all = new Headers(headers);
    if (!isKey(key)) throw new Error("This is no API key: a key has no spaces, and only plain letters and digits.");
    if (isSigned && key) all.set("Authorization", `Bearer ${key}`);
    if (isSigned && !key && method !== "GET") all.set("X-CSRFToken", csrfToken());
    if (body && /json/.test(all.get("Content-Type"))) JSON.parse(body);
    if (/\/\.{1,2}(\/|$)/.test(address)) throw new Error("No part of the path can be “.” or “..”.");
    return new Request(address, {
      method, headers: all, body: body || undefined, cache: "no-store",
      mode: "same-origin", redirect: "error", credentials: isSigned && !key ? "same-origin" : "omit",
    });
  };

  /* Return why no answer came, and what to do. */
  const lossOf = ({ method, headers }) => {
    const lost = "No answer came: the server cannot be reached, or the connection broke.";
    if (method === "GET") return `${lost} Send it again.`;
    return headers.has(KEY_OF_REQUEST)
      ? `${lost} It may have been done. Send it again with the same ${KEY_OF_REQUEST}: it is done once.`
      : `${lost} It may have been done. Read the object first, then decide whether to send it again.`;
  };
  const failure = (words) => {
    byId("api-answer").textContent = words;
    return Object.assign(new Error(words), { name: "" });  // Swagger UI shows both
  };
  const send = async (address, request) => {
    let made;
    try { made = requestOf(address, request); } catch (fault) { throw failure(`Nothing was sent. ${fault.message}`); }
    if (!navigator.onLine) throw failure("Nothing was sent. This browser is offline.");
    try {
      const response = await fetch(made);
      byId("api-answer").textContent = `The answer is ${response.status}.`;
      return response;
    } catch { throw failure(lossOf(made)); }
  };

  let typed = "";  // the body of the request that is being sent; Swagger UI would round its numbers
  const prepare = (request) => {
    if (typed) request.body = typed;
    request.curlOptions = takesKey(request.url) ? ['-H "Authorization: Bearer $FILLCAST_KEY"'] : [];  // a key is only named
    request.userFetch = send;
    return request;
  };
  const namesOf = (one) => [one.get("path"), ...["operationId", "summary"].map((name) => one.getIn(["operation", name]))]
    .join(" ").toLowerCase();
  const ours = () => ({
    fn: {
      opsFilter: (groups, text) => groups
        .map((group) => group.update("operations", (all) => all.filter((one) => namesOf(one).includes(text.toLowerCase()))))
        .filter((group) => group.get("operations").size),
    },
    wrapComponents: {
      DeepLink: () => ({ text }) => text,  // a link inside a button is out of reach for the keyboard
      FilterContainer: () => () => null,
      InfoContainer: () => () => null,
      ServersContainer: () => () => null,
      execute: (Execute, { React }) => (props) => {
        const effect = props.operation.get("x-effect");
        const warning = effect && React.createElement("p", { className: "api-real" }, effect);
        return React.createElement(React.Fragment, null, warning, React.createElement(Execute, props));
      },
    },
    statePlugins: {
      spec: {
        wrapActions: {
          executeRequest: (execute, { oas3Selectors }) => (request) => {
            const body = oas3Selectors.requestBodyValue(request.pathName, request.method);
            typed = typeof body === "string" ? body : "";
            return execute(request);
          },
        },
      },
    },
  });

  const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  /* Take out how requests are signed, which is asked for above, and the same object of each refusal but one; fill in a new id
     where one is taken. */
  const adapted = (schema) => {
    for (const operation of Object.values(schema.paths).flatMap((methods) => Object.values(methods))) {
      delete operation.security;
      for (const one of operation.parameters ?? []) if (one.name === KEY_OF_REQUEST) one.example = newId();
    }
    delete schema.components.securitySchemes;
    for (const [name, refusal] of Object.entries(schema.components.responses)) if (name !== "Problem400") delete refusal.content;
    return schema;
  };

  /* Give names to the fields that Swagger UI leaves without, and the keyboard a way to scroll. */
  const FIELDS = ":is(input, select, textarea)";
  const nameFields = () => {
    for (const row of page.querySelectorAll("tr[data-param-name]"))
      for (const field of row.querySelectorAll(FIELDS)) field.setAttribute("aria-label", row.dataset.paramName);
    for (const [which, name] of [[".examples-select-element", "Example"], [".body-param__text", "Body"]])
      for (const field of page.querySelectorAll(which)) field.setAttribute("aria-label", name);
    for (const text of page.querySelectorAll("pre")) text.tabIndex = 0;
  };

  /* State as whom requests are sent. */
  const look = async () => {
    const key = keyNow(), state = (words) => { if (key === keyNow()) sender.textContent = words; };
    try {
      const response = await fetch(requestOf(byId("try").dataset.me, { method: "GET" }));
      const name = response.ok ? (await response.json()).username : "";
      const how = key ? "with this API key" : "as the signed-in user; a key changes that";
      if (name) state(`Requests are sent as ${name}, ${how}.`);
      else if (response.status === 401 && key) state("This key is unknown, expired or revoked.");
      else if (response.status === 401) state("There is no key, and no user is signed in: only public operations answer.");
      else state(key ? "Requests are sent with this API key." : "Requests are sent as the signed-in user.");
    } catch (fault) { state(isKey(key) ? "The server cannot be reached, or the connection broke." : fault.message); }
  };
  const changeKey = () => { store(keyNow()); sender.textContent = "Checking who sends…"; look(); };

  show.addEventListener("click", () => {
    const isShown = keyInput.type === "password";
    keyInput.type = isShown ? "text" : "password";
    show.setAttribute("aria-pressed", String(isShown));
  });
  byId("api-key-forget").addEventListener("click", () => { keyInput.value = ""; changeKey(); keyInput.focus(); });
  keyInput.addEventListener("change", changeKey);
  keyInput.value = stored();
  byId("try").hidden = false;
  look();

  const [place] = page.children;
  place.textContent = "Loading the operations…";
  let spec;
  try { spec = adapted(await (await fetch(page.dataset.schema)).json()); } catch {
    place.textContent = "The operations could not be loaded. Load this page again.";
    return;
  }
  new MutationObserver(nameFields).observe(page, { childList: true, subtree: true });
  const viewer = SwaggerUIBundle({
    dom_id: "#reference", spec, plugins: [ours], requestInterceptor: prepare,
    deepLinking: true, docExpansion: "list", defaultModelsExpandDepth: -1, displayRequestDuration: true, filter: true,
    syntaxHighlight: { activated: false },
  });
  byId("find-operation").addEventListener("input", ({ target }) => viewer.layoutActions.updateFilter(target.value.trim() || true));
  byId("find").hidden = false;
})();
