/* The service worker: it shows push messages and opens their page. It caches no page and answers no request. */
const MEMORY = "fillcast-push", REMEMBERED = "/push/subscription";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  let message = {};
  try { message = event.data.json(); } catch { /* a browser must show something for each message */ }
  event.waitUntil(self.registration.showNotification(message.title || "Fillcast", {
    body: message.body || "",
    tag: message.tag,
    requireInteraction: message.urgent === true,
    icon: "/static/portal/icon-192.png",
    data: { page: message.page || "/inbox/" },
  }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const wanted = new URL(event.notification.data?.page || "/inbox/", self.location.origin);
  const page = wanted.origin === self.location.origin ? wanted.href : self.location.origin + "/inbox/";
  event.waitUntil((async () => {
    const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    const open = windows.find((one) => one.url === page);
    return open ? open.focus() : self.clients.openWindow(page);
  })());
});

/* The browser replaces its subscription by itself; the old one, which the page has remembered, proves which it is. */
self.addEventListener("pushsubscriptionchange", (event) => {
  event.waitUntil((async () => {
    const memory = await caches.open(MEMORY);
    const old = event.oldSubscription?.toJSON() ?? await (await memory.match(REMEMBERED))?.json();
    if (!old) return;
    const key = event.oldSubscription?.options.applicationServerKey ?? old.key;
    const fresh = event.newSubscription
      ?? await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    const answer = await fetch("/push/renew/", {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ endpoint: old.endpoint, auth: old.keys.auth, new: fresh.toJSON() }),
    });
    if (answer.ok) await memory.put(REMEMBERED, new Response(JSON.stringify({ ...fresh.toJSON(), key: old.key })));
  })());
});
