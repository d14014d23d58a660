// Step 3: the token taken apart, and its life on the server's clock.

import { inspect } from "./api.js";
import { byId, element } from "./dom.js";
import { changes, currentToken } from "./state.js";

const MEANINGS = {
  alg: "how it is signed: HMAC with SHA-256",
  typ: "what it is: a JSON Web Token",
  kid: "which key signed it",
  iss: "who issued it: the project’s API key",
  ist: "what kind of issuer that is",
  scope: "what it is good for: connecting to a session",
  session_id: "the one session that it opens",
  role: "what its bearer may do there",
  connection_data: "what the app says of the bearer",
  initial_layout_class_list: "how the bearer’s streams are laid out",
  iat: "when it was issued",
  exp: "when it expires",
  nbf: "from when on it is good",
  nonce: "a random number, as the SDKs put it",
  jti: "its own id: no two tokens share one",
};

const TIMES = new Set(["iat", "exp", "nbf"]);

let life = null;

export function startInside() {
  changes.addEventListener("token", show);
  byId("copy").addEventListener("click", copy);
  setInterval(tick, 1000);
}

async function show() {
  const held = currentToken();
  const answer = await inspect(held.token);
  if (!answer.ok || held !== currentToken()) return;
  const { header, claims, signature, now } = answer.body;
  byId("inside-empty").hidden = true;
  byId("inside-body").hidden = false;
  byId("token-text").replaceChildren(...coloured(held.token));
  byId("header").replaceChildren(...Object.entries(header).map(claim));
  byId("claims").replaceChildren(...Object.entries(claims).map(claim));
  byId("signature").textContent = signature;
  life = { issued: claims.iat, expires: claims.exp, ahead: Date.now() / 1000 - now };
  byId("issued").textContent = stamp(life.issued);
  byId("expires").textContent = stamp(life.expires);
  byId("life-bar").max = life.expires - life.issued;
  highlight(claims.role);
  tick();
}

function coloured(token) {
  const kinds = ["header", "claims", "signature"];
  return token.split(".").flatMap((part, index) => {
    const span = element("span", { className: `part ${kinds[index]}` }, part);
    return index ? [".", span] : [span];
  });
}

function claim([name, value]) {
  const shown = element("dd", { className: "mono wrap" }, typeof value === "string" ? value : JSON.stringify(value));
  const meaning = TIMES.has(name) ? `${MEANINGS[name]}: ${moment(value)}` : (MEANINGS[name] ?? "the app’s own claim");
  return element("div", {}, element("dt", {}, name), shown, element("dd", { className: "help" }, meaning));
}

function highlight(role) {
  for (const cell of document.querySelectorAll(".grid [data-role]")) {
    cell.classList.toggle("mine", cell.dataset.role === role);
  }
  byId("mine").textContent = `This token: ${role}.`;
}

function tick() {
  if (life === null) return;
  const now = Date.now() / 1000 - life.ahead;
  const left = life.expires - now;
  byId("now").textContent = stamp(now);
  byId("life-bar").value = Math.min(now, life.expires) - life.issued;
  byId("countdown").textContent = left > 0 ? duration(left) : "Expired";
  byId("countdown").classList.toggle("over", left <= 0);
  byId("life-note").textContent =
    left > 0 ? `left, then it is refused${skew()}` : "From now on it is refused.";
}

function skew() {
  const seconds = Math.round(life.ahead);
  if (Math.abs(seconds) < 2) return "";
  return `; this device’s clock is ${duration(Math.abs(seconds))} ${seconds > 0 ? "ahead of" : "behind"} the server’s`;
}

function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const units = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = units.findIndex(([count]) => count > 0);
  return units.slice(first < 0 ? 3 : first).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

const stamp = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");

const moment = (seconds) => `${stamp(seconds)} UTC`;

async function copy() {
  const button = byId("copy");
  try {
    await navigator.clipboard.writeText(currentToken().token);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(byId("token-text"));
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}
