// The demo's page: four steps, each in a module of its own.

import { startDoors } from "./doors.js";
import { startInside } from "./inside.js";
import { startSessions } from "./sessions.js";
import { startTokens } from "./tokens.js";

startSessions();
startTokens();
startInside();
startDoors();
