// What the four steps share: the sessions, and the token that was handed out last.

export const changes = new EventTarget();

const rooms = [];
let token = null;

export const allRooms = () => [...rooms];
export const openRooms = () => rooms.filter((room) => !room.ended);
export const roomOf = (sessionId) => rooms.find((room) => room.id === sessionId);
export const currentToken = () => token;

export function addRoom(session) {
  const room = { name: roomName(rooms.length), id: session.session_id, session, ended: false };
  rooms.push(room);
  tell("rooms");
  return room;
}

export function endRoom(room) {
  room.ended = true;
  tell("rooms");
}

export function holdToken(issued) {
  token = issued;
  tell("token");
}

function roomName(index) {
  return `Room ${index < 26 ? String.fromCharCode(65 + index) : index + 1}`;
}

const tell = (what) => changes.dispatchEvent(new Event(what));
