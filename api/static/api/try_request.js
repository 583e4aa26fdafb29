/* A request of the API reference: what is sent, what is missing, and the same as a curl command. */
((our) => {
  const VARIABLE = "$FILLCAST_KEY";
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const valueOf = (values, place, name) => values.get(`${place} ${name}`) ?? "";
  const isList = (parameter) => parameter.type.startsWith("list of ");

  /* Return the faults of the parameters: their place and name, and what to do. */
  our.missing = (form, values) => form.parameters.flatMap(({ place, name, isRequired }) => {
    const value = valueOf(values, place, name), of = `${place} ${name}`;
    if (!value) return isRequired ? [{ of, words: `Fill in ${name}.` }] : [];
    if (place === "path" && /^\.{1,2}$/.test(value)) return [{ of, words: `${name} cannot be “${value}”.` }];
    if (place === "header" && !/^[ -~]*$/.test(value)) return [{ of, words: `${name} takes plain letters, digits and signs.` }];
    return [];
  });

  /* Return the path with its query. A name in braces stands for what is not filled in. */
  const addressOf = (form, values) => {
    const path = form.path.replace(/{(\w+)}/g, (name, inner) => encodeURIComponent(valueOf(values, "path", inner)) || name);
    const query = new URLSearchParams();
    for (const parameter of form.parameters.filter((one) => one.place === "query")) {
      const value = valueOf(values, "query", parameter.name);
      const all = isList(parameter) ? value.split(",").map((one) => one.trim()) : [value];
      all.filter(Boolean).forEach((one) => query.append(parameter.name, one));
    }
    return query.size ? `${path}?${query}` : path;
  };

  /* Return a request without what signs it. body: empty if none is sent. */
  our.requestOf = (form, values, { body, contentType }) => {
    const headers = {};
    for (const { place, name } of form.parameters) {
      const value = valueOf(values, place, name);
      if (place === "header" && value) headers[name] = value;
    }
    if (body) headers["Content-Type"] = contentType;
    return { method: form.method, address: addressOf(form, values), headers, body };
  };

  /* Return the request as a command; a key is only named. */
  our.curlOf = (request, { isSigned }) => {
    const parts = [request.method === "GET" ? "curl" : `curl -X ${request.method}`];
    parts[0] += ` ${quoted(location.origin + request.address)}`;
    if (isSigned) parts.push(`-H "Authorization: Bearer ${VARIABLE}"`);
    for (const [name, value] of Object.entries(request.headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
    if (request.body) parts.push(`--data-raw ${quoted(request.body)}`);
    return parts.join(" \\\n  ");
  };

  const csrfToken = () => document.cookie.match(/(?:^|; )csrftoken=(\w+)/)?.[1] ?? "";

  /* Send a request, to this origin only: with the key, or without one as the user who is signed in. */
  our.send = (request, { key, isSigned }) => {
    const headers = { ...request.headers };
    if (isSigned && key) headers.Authorization = `Bearer ${key}`;
    if (isSigned && !key && request.method !== "GET") headers["X-CSRFToken"] = csrfToken();
    return fetch(request.address, {
      method: request.method, headers, body: request.body || undefined, cache: "no-store",
      mode: "same-origin", redirect: "error", credentials: isSigned && !key ? "same-origin" : "omit",
    });
  };

  /* Return a new id; crypto.randomUUID exists on https and localhost only. */
  our.newId = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  };
})(window.fillcastTry ??= {});
