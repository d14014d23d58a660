// Step 4: knock at guarded views with the token, without one, or with a forged one.

import { createSession, explainKnock, knock } from "./api.js";
import { showAnswer, showWords } from "./answer.js";
import { busy, byId, chosen, element } from "./dom.js";
import { addRoom, changes, currentToken, openRooms } from "./state.js";
import { addSteps } from "./steps.js";

const place = byId("answer");
const doors = [...document.querySelectorAll(".door")];

export function startDoors() {
  changes.addEventListener("token", reset);
  byId("doors").addEventListener("change", reset);
  for (const door of doors) door.addEventListener("click", () => busy(door, () => tryOne(door)));
  byId("try-all").addEventListener("click", (event) => busy(event.currentTarget, tryAll));
}

function reset() {
  const held = currentToken();
  byId("doors-empty").hidden = true;
  byId("doors").hidden = false;
  byId("doors-token").replaceChildren("In hand: ", element("b", {}, held.role), ` of ${held.room.name}`);
  byId("forgery").hidden = chosen("credential") !== "tampered";
  byId("forgery").textContent = forged(held.token).change;
  for (const badge of document.querySelectorAll(".badge")) badge.replaceChildren();
  place.replaceChildren();
}

async function tryOne(door) {
  const { room, note } = await target();
  if (!room) return;
  const answer = await knockAt(door, room);
  const explanation = await explainKnock(room.id, door.dataset.act, credential());
  showAnswer(place, answer, note);
  addSteps(place, explanation);
  reveal();
}

async function tryAll() {
  const { room, note } = await target();
  if (!room) return;
  let opened = 0;
  for (const door of doors) opened += (await knockAt(door, room)).ok ? 1 : 0;
  const words = `${opened} of ${doors.length} doors opened. Try one by itself to read its answer, and why.`;
  showWords(place, note ? `${note} ${words}` : words, opened ? "good" : "bad");
  reveal();
}

// The answer stands below the doors, on a small screen out of sight.
const reveal = () => place.scrollIntoView({ block: "nearest" });

async function knockAt(door, room) {
  const answer = await knock(room.id, door.dataset.act, credential());
  const badge = document.querySelector(`[data-badge="${door.dataset.act}"]`);
  badge.replaceChildren(
    element("span", { className: answer.ok ? "good" : "bad" }, `${answer.ok ? "✓" : "✕"} ${answer.status || "no answer"}`),
  );
  return answer;
}

function credential() {
  const { token } = currentToken();
  return { token, none: null, tampered: forged(token).token }[chosen("credential")];
}

// The session to knock at; another one is created if there is none.
async function target() {
  const { room } = currentToken();
  if (chosen("where") === "same") return { room, note: null };
  const other = openRooms().find((candidate) => candidate !== room);
  if (other) return { room: other, note: `At ${other.name}, with a token for ${room.name}.` };
  const answer = await createSession({});
  if (!answer.ok) {
    showAnswer(place, answer);
    return { room: null, note: null };
  }
  const added = addRoom(answer.body);
  return { room: added, note: `At ${added.name}, opened just now, with a token for ${room.name}.` };
}

// What a cheat would do: change what the token says, and leave the signature as it is.
function forged(token) {
  const [header, payload, signature] = token.split(".");
  const claims = JSON.parse(decode(payload));
  const name = claims.role === "moderator" ? "exp" : "role";
  const before = claims[name];
  claims[name] = name === "role" ? "moderator" : before + 86_400;
  return {
    token: [header, encode(JSON.stringify(claims)), signature].join("."),
    change: `The forgery: “${name}” was ${before} and now says ${claims[name]}; the signature is the old one.`,
  };
}

function decode(segment) {
  const binary = atob(segment.replaceAll("-", "+").replaceAll("_", "/"));
  return new TextDecoder().decode(Uint8Array.from(binary, (character) => character.charCodeAt(0)));
}

function encode(text) {
  const binary = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
