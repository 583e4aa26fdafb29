/* “Notify this browser”: asks for permission on a click, subscribes, and sends the subscription as a form.
   When the page is opened later, it renews a subscription that was made with an older key. */
(() => {
  const panel = document.querySelector("[data-push]");
  if (!panel) return;
  const key = panel.dataset.key, form = panel.querySelector("form"), button = form?.querySelector("button");
  const MEMORY = "fillcast-push", REMEMBERED = "/push/subscription";

  const say = (state) => panel.querySelectorAll("[data-says]").forEach((text) => { text.hidden = text.dataset.says !== state; });
  const offer = (shown) => { if (form) form.hidden = !shown; };
  const encoded = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const madeWith = (subscription) => encoded(subscription.options.applicationServerKey);

  /* What the service worker needs if the browser replaces the subscription while no page is open. */
  const remember = async (subscription) => {
    const memory = await caches.open(MEMORY);
    await memory.put(REMEMBERED, new Response(JSON.stringify({ ...subscription.toJSON(), key: madeWith(subscription) })));
  };
  const remembered = async () => (await (await caches.open(MEMORY)).match(REMEMBERED))?.json();
  const subscribe = (registration) =>
    registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  const renew = async (old, fresh) => {
    const answer = await fetch(panel.dataset.renew, {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ endpoint: old.endpoint, auth: old.keys.auth, ...(fresh ? { new: fresh } : {}) }),
    });
    return answer.ok ? answer.json() : {};
  };

  const hindrance = () => {
    if (!window.isSecureContext) return "insecure";
    if ("serviceWorker" in navigator && "PushManager" in window && "Notification" in window)
      return Notification.permission === "denied" ? "refused" : "";
    const isApple = /iPhone|iPad|iPod/.test(navigator.userAgent) || (navigator.maxTouchPoints > 1 && /Mac/.test(navigator.platform));
    return isApple && !matchMedia("(display-mode: standalone)").matches ? "iphone" : "unsupported";
  };

  const look = async () => {
    const state = hindrance();
    if (state) { say(state); return; }
    offer(true); say("ready");
    const registration = await navigator.serviceWorker.getRegistration("/");
    const subscription = await registration?.pushManager.getSubscription();
    const old = await remembered();
    if (Notification.permission !== "granted" || !registration || !(subscription || old)) return;
    /* After a renewal whose answer was lost, only the remembered subscription is known. */
    let known = {}, matched;
    for (matched of [subscription?.toJSON(), old].filter(Boolean)) {
      known = await renew(matched);
      if (known.known) break;
    }
    if (!known.known) return;
    let current = subscription;
    if (!current || madeWith(current) !== key || known.ended) {
      await subscription?.unsubscribe();
      current = await subscribe(registration);
    }
    if (current.endpoint !== matched.endpoint) known = await renew(matched, current.toJSON());
    if (known.known) await remember(current);
    if (!known.mine) return;
    panel.querySelectorAll("[data-channel]").forEach((link) => { link.href = known.page; link.textContent = known.name; });
    offer(false); say(known.active ? "on" : "off");
  };

  const start = async () => {
    say("asking");
    const permission = await Notification.requestPermission();
    if (permission !== "granted") { say(permission === "denied" ? "refused" : "dismissed"); offer(permission !== "denied"); return; }
    await navigator.serviceWorker.register(panel.dataset.worker, { scope: "/" });
    const registration = await navigator.serviceWorker.ready;
    await (await registration.pushManager.getSubscription())?.unsubscribe();  /* perhaps of another login */
    const subscription = await subscribe(registration);
    await remember(subscription);
    const { endpoint, keys } = subscription.toJSON();
    Object.assign(form.elements.endpoint, { value: endpoint });
    Object.assign(form.elements.p256dh, { value: keys.p256dh });
    Object.assign(form.elements.auth, { value: keys.auth });
    form.submit();
  };

  const guarded = (act) => act().catch(() => { say("failed"); offer(true); }).finally(() => { if (button) button.disabled = false; });
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    button.disabled = true;
    guarded(start);
  });
  if (key) guarded(look);
})();
