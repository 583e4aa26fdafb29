/* JSON as text: where it is wrong, in words, and the same text with one value in each line. Nothing is parsed into numbers,
   so none is rounded. */
((our) => {
  const TEXT = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/.source;
  const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/.source;
  const TOKEN = new RegExp(`[ \\t\\r\\n]+|${TEXT}|${NUMBER}|true|false|null|[{}[\\]:,]`, "y");
  class Fault extends Error {
    constructor(at, words) { super(words); this.at = at; }
  }

  const unreadable = (text, at) => {
    const rest = text.slice(at);
    if (rest[0] === '"') return "this text has no closing quote, or a character in it that needs a backslash";
    if (/^['‘’“”„]/.test(rest)) return `texts stand between straight double quotes: "…"`;
    if (/^(\/[/*]|#)/.test(rest)) return "JSON has no comments";
    return `“${rest.match(/^[^\s,:{}[\]"]+/)?.[0].slice(0, 30) ?? rest[0]}” is no value of JSON; a text stands between double quotes`;
  };
  const tokens = (text) => {
    const found = [];
    for (let at = 0; at < text.length; at = TOKEN.lastIndex) {
      TOKEN.lastIndex = at;
      const match = TOKEN.exec(text);
      if (!match) throw new Fault(at, unreadable(text, at));
      if (match[0].trim()) found.push({ text: match[0], at });
    }
    return found;
  };

  const check = (text) => {
    const all = tokens(text), end = { text: "", at: text.trimEnd().length };
    let next = 0;
    const peek = () => all[next] ?? end, take = () => all[next++] ?? end;
    const fail = (one, words) => { throw new Fault(one.at, one === end ? `the text ends here; ${words}` : words); };
    const value = () => {
      const one = take();
      if (one.text === "{") members("}", pair(new Set()));
      else if (one.text === "[") members("]", value);
      else if (one === end || ",:}]".includes(one.text)) fail(one, "a value is missing here");
    };
    const pair = (names) => () => {
      const name = take();
      if (name.text[0] !== '"') fail(name, "a name between double quotes is missing here");
      if (names.has(JSON.parse(name.text))) fail(name, `${name.text} is here for the second time`);
      names.add(JSON.parse(name.text));
      if (peek().text !== ":") fail(peek(), `a colon is missing after ${name.text}`);
      take();
      value();
    };
    const members = (close, read) => {
      if (peek().text === close) { take(); return; }
      for (;;) {
        read();
        const one = take();
        if (one.text === close) return;
        if (one.text !== ",") fail(one, `a comma or ${close} is missing here`);
        if (peek().text === close) fail(one, `this comma is one too many: ${close} follows`);
      }
    };
    if (peek().text !== "{") fail(peek(), "the body is one object: { … }");
    value();
    if (next < all.length) fail(peek(), "the object has ended before this");
  };

  /* Return the line, the place and the words of the first fault of a body; null if there is none. */
  our.faultIn = (text) => {
    try {
      check(text);
      return null;
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      return { at: fault.at, line: text.slice(0, fault.at).split("\n").length, words: fault.message };
    }
  };

  /* Return JSON with one value in each line; a text that is no JSON as it is. */
  our.pretty = (text) => {
    let all, depth = 0, before = "", shown = "";
    try { all = tokens(text); } catch { return text; }
    const line = () => `\n${"  ".repeat(depth)}`;
    for (const { text: one } of all) {
      const isOpened = before === "{" || before === "[", closes = one === "}" || one === "]";
      if (closes) depth -= 1;
      if (closes ? !isOpened : isOpened || before === ",") shown += line();
      shown += one === ":" ? ": " : one;
      if (one === "{" || one === "[") depth += 1;
      before = one;
    }
    return shown;
  };
})(window.fillcastTry ??= {});
