// Step 2: choose a role, a lifetime and data, and get a token.

import { createToken, explainToken } from "./api.js";
import { showAnswer, showWords } from "./answer.js";
import { busy, byId, chosen, element } from "./dom.js";
import { allRooms, changes, holdToken, openRooms, roomOf } from "./state.js";
import { addSteps } from "./steps.js";

const form = byId("token-form");
const result = byId("token-result");
const select = byId("token-session");

export function startTokens() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(form.querySelector("button"), issue);
  });
  changes.addEventListener("rooms", listRooms);
}

async function issue() {
  const room = roomOf(select.value);
  if (!room) return showWords(result, "A token is for a session: create one in step 1.", "bad");
  const wanted = { role: chosen("role"), expires_in: Number(byId("lifetime").value) };
  if (byId("data").value) wanted.data = byId("data").value;
  const answer = await createToken(room.id, wanted);
  const explanation = await explainToken(room.id, wanted);
  if (answer.ok) handOut(answer, room);
  else showAnswer(result, answer);
  addSteps(result, explanation);
}

function handOut(answer, room) {
  holdToken({ ...answer.body, room });
  showWords(result, [
    element("b", {}, answer.body.role),
    ` in ${room.name}. `,
    element("a", { href: "#inside" }, "Look inside"),
  ]);
}

function listRooms() {
  const before = new Set([...select.options].map((option) => option.value));
  const added = openRooms().find((room) => !before.has(room.id));
  const kept = added?.id ?? select.value;
  select.replaceChildren(
    ...allRooms().map((room) =>
      element("option", { value: room.id }, room.ended ? `${room.name} (ended)` : room.name),
    ),
  );
  select.value = kept;
}
