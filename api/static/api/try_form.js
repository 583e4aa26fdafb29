/* The form of an operation: a field for each parameter, with the help that the page has of it, and one for the body. */
((our) => {
  const MOST_OPTIONAL = 3;  // more of them are folded
  const PLACES = ["path", "query", "header"];  // in the order of the form
  const EXAMPLES = { "date-time": "2026-11-20T12:00:00Z", date: "2026-11-20" };

  const make = our.make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  };

  /* Return a button that copies; hidden where the browser does not allow it. */
  our.copyButton = (label, read) => {
    const button = make("button", { type: "button", class: "fc-btn", "aria-live": "polite", hidden: !navigator.clipboard }, label);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(read());
        button.textContent = "Copied";
      } catch { button.textContent = "Select the text and copy it"; }
      setTimeout(() => { button.textContent = label; }, 3000);
    });
    return button;
  };

  const inputOf = ({ type, values, isRequired }, attributes) => {
    const choices = values.length || type !== "boolean" ? values : ["true", "false"];
    if (!choices.length) {
      const typed = { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
      return make("input", { ...attributes, ...typed, placeholder: EXAMPLES[type], inputmode: type === "integer" && "numeric" });
    }
    const none = make("option", { value: "" }, isRequired ? "choose" : "not sent");
    return make("select", attributes, none, ...choices.map((one) => make("option", { value: one }, one)));
  };
  const helpOf = (section, of) => {
    const help = section.querySelector(`[data-parameter="${of}"] dd`)?.cloneNode(true);
    help?.querySelectorAll("small").forEach((values) => values.remove());
    return help ? [...help.childNodes] : [];
  };
  const newId = (input) => {
    const button = make("button", { type: "button", class: "fc-btn" }, "New id");
    const renew = () => { input.value = our.newId(); input.dispatchEvent(new Event("input", { bubbles: true })); };
    button.addEventListener("click", renew);
    input.value = our.newId();
    return make("div", { class: "api-row" }, input, button);
  };

  const fieldOf = (section, parameter) => {
    const { name, place, type, isRequired } = parameter, of = `${place} ${name}`, id = `${section.id}-${place}-${name}`;
    const takesList = type.startsWith("list of ") ? "; several with commas between them" : "";
    const help = make("p", { class: "fc-hint", id: `${id}-help` }, ...helpOf(section, of));
    const error = make("p", { class: "fc-error", id: `${id}-error`, hidden: true });
    const input = inputOf(parameter, { id, required: isRequired, "aria-describedby": `${help.id} ${error.id}` });
    const label = make("label", { for: id }, make("code", {}, name), " ",
      make("small", {}, `${place}, ${type || "any"}${isRequired ? ", required" : ""}${takesList}`));
    const shown = name === "Idempotency-Key" ? newId(input) : input;
    if (name === "If-Match") input.setAttribute("list", "api-etags");
    const element = make("div", { class: "fc-field" }, label, shown, help, error);
    return { of, input, error, element, isOptional: !isRequired && !input.value };
  };
  const bodyOf = (section, contentTypes) => {
    const id = `${section.id}-body`, example = section.querySelector("[data-example]")?.textContent ?? "{}";
    const error = make("p", { class: "fc-error", id: `${id}-error`, hidden: true });
    const input = make("textarea", {
      id, class: "api-code", rows: Math.min(24, example.split("\n").length + 1), spellcheck: "false", autocapitalize: "none",
      "aria-describedby": error.id,
    });
    input.value = example;
    const kind = make("select", { "aria-label": "Content-Type of the body" }, ...contentTypes.map((one) => make("option", {}, one)));
    const label = make("label", { for: id }, "Body ", make("small", {}, contentTypes.length > 1 ? "" : contentTypes[0]));
    const element = make("div", { class: "fc-field" }, label, ...(contentTypes.length > 1 ? [kind] : []), input, error);
    return { of: "body", input, error, element, contentType: () => kind.value };
  };
  const folded = (fields) => make("details", {},
    make("summary", {}, `Optional parameters (${fields.length})`),
    make("div", { class: "fc-form" }, ...fields.map((field) => field.element)));

  /* Show faults beside their fields and lead to the first one; those of before go. */
  const mark = (fields, faults) => {
    for (const { of, input, error } of fields) {
      const fault = faults.find((one) => one.of === of);
      error.hidden = !fault;
      error.textContent = fault?.words ?? "";
      if (fault) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
    }
    const first = fields.find((field) => !field.error.hidden);
    first?.input.closest("details:not([open])")?.setAttribute("open", "");
    first?.input.focus();
    const { at } = faults.find((fault) => fault.of === first?.of) ?? {};
    if (at !== undefined) first.input.setSelectionRange(at, at + 1);
  };

  /* Return the fields of an operation: their elements, what is in them, their faults. */
  our.fieldsOf = (section, form) => {
    const ordered = PLACES.flatMap((place) => form.parameters.filter((one) => one.place === place));
    const parameters = ordered.map((one) => fieldOf(section, one));
    const body = form.contentTypes.length ? bodyOf(section, form.contentTypes) : null;
    const optional = parameters.filter((field) => field.isOptional), folds = optional.length > MOST_OPTIONAL;
    const shown = folds ? parameters.filter((field) => !field.isOptional) : parameters;
    const values = () => new Map(parameters.map(({ of, input }) => [of, input.value.trim()]));
    const sent = () => ({ body: body?.input.value.trim() ? body.input.value : "", contentType: body?.contentType() });
    const request = () => our.requestOf(form, values(), sent());
    const faults = () => {
      const { body: text, contentType } = sent(), fault = contentType === "application/json" && text ? our.faultIn(text) : null;
      const wrong = fault && { of: "body", at: fault.at, words: `Line ${fault.line}: ${fault.words}. Nothing was sent.` };
      return [...our.missing(form, values()), ...(wrong ? [wrong] : [])];
    };
    const all = body ? [...parameters, body] : parameters;
    const elements = [...shown.map((field) => field.element), ...(folds ? [folded(optional)] : []), ...(body ? [body.element] : [])];
    return { elements, request, faults, mark: (found) => mark(all, found) };
  };
})(window.fillcastTry ??= {});
