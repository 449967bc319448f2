import "./opening.js";
import "./streams.js";
import "./incoming.js";
import "./braking.js";
import "./ends.js";
import "./closing.js";
import "./last.js";
import "./datagrams.js";
import "./objects.js";

export { list, run } from "./support.js";
