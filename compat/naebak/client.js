// The usual client of JavaScript: connects with a token, joins, and sends a message to itself.
//
//     node client.js URL TOKEN TRANSPORTS

const { io } = require("socket.io-client");

const [url, token, transports] = process.argv.slice(2);
const socket = io(url, { auth: { token }, transports: transports.split(","), reconnection: false });
const came = [];

function fail(why) {
  console.error(why, came);
  process.exit(1);
}

setTimeout(() => fail("late"), 20000);
socket.on("connect_error", (error) => fail(error));
socket.on("connect", () => socket.emit("join_chat", { chat_partner_id: "ann" }));
socket.on("previous_messages", () => {
  socket.emit("send_message", { recipient_id: "ann", content: "from node" }, () => came.push("ack"));
});
for (const name of ["receive_message", "message_sent"]) {
  socket.on(name, () => came.push(name));
}
setInterval(() => {
  const wanted = transports.includes("websocket") ? "websocket" : "polling";
  if (came.length === 3 && socket.io.engine.transport.name === wanted) {
    socket.close();
    process.exit(0);
  }
}, 20);
