// Step 1: create sessions, list them, end them.

import { createSession, createToken, endSession } from "./api.js";
import { showAnswer, showWords, shortened } from "./answer.js";
import { busy, byId, chosen, element } from "./dom.js";
import { addRoom, allRooms, changes, endRoom } from "./state.js";

const form = byId("session-form");
const result = byId("session-result");

export function startSessions() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(form.querySelector("button"), create);
  });
  changes.addEventListener("rooms", listRooms);
}

async function create() {
  const answer = await createSession({
    media_mode: chosen("media_mode"),
    archive_mode: chosen("archive_mode"),
    e2ee: form.elements.e2ee.checked,
    location: form.elements.location.value.trim() || null,
  });
  if (!answer.ok) return showAnswer(result, answer);
  const room = addRoom(answer.body);
  showWords(result, [element("b", {}, room.name), " is open."]);
}

async function end(room) {
  // To end a session takes a moderator of it; the demo's policy makes anyone one.
  const issued = await createToken(room.id, { role: "moderator", expires_in: 60 });
  const answer = issued.ok ? await endSession(room.id, issued.body.token) : issued;
  if (!answer.ok) return showAnswer(result, answer);
  endRoom(room);
  showWords(result, [
    element("b", {}, room.name),
    " has ended, by a moderator’s token: it issues no more tokens, and those it issued are refused.",
  ]);
}

function listRooms() {
  const rooms = allRooms();
  byId("rooms").hidden = rooms.length === 0;
  byId("rooms-empty").hidden = rooms.length > 0;
  byId("rooms").replaceChildren(...rooms.map(row));
}

function row(room) {
  const tags = [room.session.media_mode];
  if (room.session.archive_mode === "always") tags.push("archived");
  if (room.session.e2ee) tags.push("e2ee");
  if (room.session.location) tags.push(room.session.location);
  return element(
    "li",
    { className: room.ended ? "ended" : "" },
    element("b", {}, room.name),
    element("code", { title: room.id }, shortened(room.id)),
    element("span", { className: "tags" }, tags.join(" · ")),
    room.ended ? element("span", { className: "tags" }, "ended") : endButton(room),
  );
}

function endButton(room) {
  const button = element("button", { type: "button", className: "quiet", "aria-label": `End ${room.name}` }, "End");
  button.addEventListener("click", () =>
    busy(button, async () => {
      await end(room);
      // The button is gone once the session has ended.
      if (!button.isConnected) form.querySelector("button").focus();
    }),
  );
  return button;
}
