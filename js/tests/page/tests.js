import "./opening.js";
import "./streams.js";
import "./incoming.js";
import "./braking.js";
import "./ends.js";
import "./closing.js";
import "./last.js";
import "./datagrams.js";
import "./objects.js";
import "./resuming.js";

export { done, list, news, start } from "./support.js";
